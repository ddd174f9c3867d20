// Package localsink puts a write job into a folder of this machine, with the
// promises of a commit: all of it or nothing, also after a crash.
//
// Everything that is not visible lives below the folder's .hubflight, which
// listings leave out and which is on the same filesystem:
//
//	.hubflight/lock               held (flock) from reading the folder to the end
//	.hubflight/<job>/<oid>.<n>    staged files, synced
//	.hubflight/<job>/intent.json  what the commit is about to do, synced
//	.hubflight/<job>/forward      empty; as long as it is there, an intent is carried out,
//	                              and without it taken back
//	.hubflight/<job>/old.<n>      hard links to what the commit replaces or deletes
//	.hubflight/<job>/answer.json  the answer, written before the intent so that the disk
//	                              has room for it
//	.hubflight/done/<job>.json    the answer of a committed job; empty until then
//
// A commit has these steps:
//
//  1. Take the lock, finish what a dead process left, and plan.
//  2. Do everything that needs room on the disk: the folders, the card, the hard links,
//     the answer.
//  3. Write the intent. Up to here nothing has happened; from here on the commit is
//     carried to its end, by this process or by the next one that takes the lock.
//  4. Rename the files into place, delete what an overwrite replaces, sync the folders.
//  5. Complete the answer, rename it to its place in done, and drop the intent.
//
// If a step after the intent fails, the commit is taken back: readers find what was there
// before, and the same commit can be tried again.
//
// That needs the hard links. On a file system without them, a commit that replaces or
// deletes something cannot be taken back once a file is in place or gone: if it fails,
// readers are answered busy until whoever takes the lock next has carried it out.
//
// Renames are one after the other: another program that lists the folder
// meanwhile sees some of them. A folder on a filesystem without working locks is
// refused.
package localsink
