// Package datasetslib asks the real datasets library, as a test's peer: a script of the test reads one question a line, and writes one
// answer a line, both as JSON. The library is imported once for all of them, because that takes seconds.
//
// The script sees the Hub that it is given and nothing of the user: no token, no cache, no settings.
//
// What it does not do: know what the questions mean. The scripts are in the testdata folders of those who ask.
package datasetslib
