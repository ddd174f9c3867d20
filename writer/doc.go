// Package writer turns one write job into files of a dataset: nothing lost,
// nothing doubled, nothing half visible. It owns the nouns (Job, staged file,
// State, Plan), where files and row groups end, and every decision about names; its
// children own how rows become bytes and the places that files go to:
//
//	parquetfile  Arrow batches to the pages, indexes and footer of a Parquet file
//	hubsink      a repository of the Hub: LFS uploads and chained commits
//	localsink    a folder: staging area, intent record, renames
//	spool        the bounded scratch space between encoder and sink
//
// # The protocol
//
//  1. Begin (driver, once). The sink creates what is missing, checks that the
//     caller may write, refuses what cannot be written to (tags, shas,
//     conversions) and pins the head: base. The mode is decided (errorifexists,
//     ignore), and the schema of the files is fixed: an append takes the schema
//     of the split that it appends to.
//  2. Stage (any number of task attempts, anywhere). Batches are coerced,
//     checked, to that schema; encoded into a spool file, hashed on the way;
//     given to the sink, which makes the bytes durable but invisible; and
//     described by a staged record. The spool file is removed. An attempt that
//     is never committed leaves nothing that anybody can see.
//  3. Commit (driver). The records of the chosen attempts are ordered by
//     (partition, index) and checked: one dataset, one schema, one attempt per
//     partition.
//  4. The sink reads the State of the branch at its head: tree, card. If the
//     history since base already holds this job, the answer is the first
//     answer: already.
//  5. NewPlan chooses names that make the target split resolve to its old files
//     followed by the new ones (an overwrite: to the new ones), and leaves
//     everything else as it was. It proves that by running dataset resolution on
//     the tree as it will be, after every batch, before anything is sent. What
//     cannot be expressed is refused here.
//     With publish=switch a job that needs several commits adds its files in a
//     folder that resolution does not look into, makes them visible by one commit of
//     the README, and then deletes what they replace (Step), so that readers see the
//     old state or the new one and nothing between. Files of another format are
//     always replaced in this way.
//  6. The batches are committed in order, each naming the one before as its
//     parent, so that at most one of two attempts at the same batch can land.
//  7. Somebody else was faster, or the answer was lost: back to 4. Everything is
//     computed anew from the new head; what the job already committed is found
//     in the history and not repeated. If the split that an append adds to has got
//     other columns meanwhile, the append fails with KindConflict, before its first
//     commit or between two of them: a split of two schemas cannot be loaded.
//  8. What cannot be settled within the deadline is KindUnknownOutcome if the answer
//     to a commit is still missing, else KindConflict with a RetryAfter, which no
//     other conflict has. Nothing is ever deleted to tidy up: asking again with the
//     same body settles it.
//  9. Abort forgets what is spooled. It never deletes what a commit may refer to.
//
// # Invariants
//
// Names never repeat and files are never renamed or rewritten, except where the
// caller named them (naming "file" and "parts"). The package keeps no state that a
// restart loses: a staged record is self-contained, and the truth about a job is the
// history of the branch.
//
// # What it does not do
//
// It does not schedule tasks, choose among attempts, or retry a caller's request;
// and it knows neither Flight nor HTTP.
package writer
