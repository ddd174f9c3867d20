// Command goclient reads one dataset with the Go client library, as a Go service would, and writes an Arrow file.
// It is an example first, and the Go step of the demo: the demo compares its files row by row with pyarrow's.
//
// The flow: dial, describe the read, range over batches that arrive in the order of the plan while two endpoints are
// read at a time, write each batch before the next one is asked for. It knows no Spark, no Hub and no Parquet.
package main
