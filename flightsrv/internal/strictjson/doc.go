// Package strictjson decodes the JSON objects of the wire contract the way
// wire.md §1 asks: one object, valid UTF-8, no duplicate keys, no unknown keys
// (answered with the nearest known one), keys matched exactly.
//
// encoding/json alone is too kind: it matches keys without regard to case,
// takes the last of two duplicates and replaces broken UTF-8. A misspelt
// "colums" that is ignored would return every column.
package strictjson
