// Package localfs reads datasets from folders of this machine, below configured
// roots and nowhere else.
//
//	NewRoots   the folders that may be used at all
//	Split      file:///root/ds/data/*.parquet → folder and the tail below it
//	Store      one folder as a source.Store
//
// A folder has no commits; what stands for one is a digest of its listing
// (paths, sizes, modification times). Files and Resolve compute it anew, and a
// snapshot that is no longer what the folder holds gives KindChanged.
//
// Invariants:
//
//   - Every access goes through os.Root, so neither "..", nor absolute paths,
//     nor symbolic links lead out of the roots, also not while somebody swaps
//     them.
//   - Nothing blocks on a FIFO or a device: files are opened without blocking
//     and must then prove to be regular.
//   - Bytes are served only while the open file has the inode, size and
//     modification time that the plan named; checked after each read. A file
//     rewritten within the clock's granularity of its last change, to the same
//     length, is not noticed.
//   - A listing holds all of a commit by hubflight or nothing of it: it is made
//     under the lock that writer/localsink commits under. Other programs' writes
//     show as they happen.
//   - Errors name paths below the dataset, never the roots.
//
// What it does not do: follow symbolic links to folders (they may form
// circles), see hard links for what they are, write (writer/localsink does).
package localfs
