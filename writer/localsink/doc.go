// Package localsink puts a write job into a folder of this machine, with the
// promises of a commit: all of it or nothing, also after a crash.
//
// Everything that is not visible lives below the folder's .hubflight, which
// listings leave out and which is on the same filesystem:
//
//	.hubflight/lock                  held (flock) from reading the folder to the end
//	.hubflight/<job>/<oid>.<n>       staged files, synced
//	.hubflight/<job>/old.<n>         second names of what the commit replaces or deletes
//	.hubflight/<job>/answer.json     the room that the answer will take
//	.hubflight/<job>/forward         the commit is carried out; without it, it is taken back
//	.hubflight/<job>/intent.json     what a commit is about to do, synced
//	.hubflight/done/<job>.json       the answer of a committed job; empty before
//
// A commit is: lock; finish what a dead process left; plan; do what takes room (folders,
// the card, second names, the answer); write the intent; rename the files into place,
// delete what an overwrite replaces, sync the folders; fill in the answer and give it its
// name; drop the intent. Before the intent is there nothing has happened. From then on
// the commit is carried to its end, by this process or by the next one that takes the
// lock. If a step fails, on a disk that is full although all that takes room was there
// before, or for any other reason, the commit is taken back: readers find what they had
// found, and the same commit can be tried again.
//
// Only where files cannot have a second name (no hard links) a commit that replaces or
// deletes something and fails cannot be taken back: readers are answered busy until
// the next one who takes the lock has carried it out.
//
// Renames are one after the other: another program that lists the folder
// meanwhile sees some of them. A folder on a filesystem without working locks is
// refused.
package localsink
