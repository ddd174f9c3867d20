// Package config is the server's configuration: one struct, one Default, one
// Load. viper is contained here; the rest of the program sees only Config.
//
// Precedence: flag > environment (HUBFLIGHT_SERVER_ADDRESS for server.address) >
// file > default. Every key is also a flag of `hubflight serve` by the same
// name. Unknown keys of a file are refused, and Validate reports every problem
// at once, each with its key.
//
// Adding a key means adding a field with its tags and its default; flags,
// environment, printing and decoding follow from the tags.
package config
