// Package localsink puts a write job into a folder of this machine, with the
// promises of a commit: all of it or nothing, also after a crash.
//
// Everything that is not visible lives below the folder's .hubflight, which
// listings leave out and which is on the same filesystem:
//
//	.hubflight/lock                  held (flock) from reading the folder to the end
//	.hubflight/<job>/<oid>.<n>       staged files, synced
//	.hubflight/<job>/intent.json     what a commit is about to do, synced
//	.hubflight/done/<job>.json       the answer of a committed job
//
// A commit is: lock; finish what a dead process left; plan; write the intent;
// rename the files into place, delete what an overwrite replaces, sync the
// folders; write the answer; drop the intent. Before the intent is there nothing
// has happened; from then on the commit is carried to its end, by this process or
// by the next one that takes the lock.
//
// Renames are one after the other: another program that lists the folder
// meanwhile sees some of them. A folder on a filesystem without working locks is
// refused.
package localsink
