// Package hubsink puts a write job into a repository of the Hub.
//
//	Begin   creates the repository or a pull request, checks write access
//	Put     preupload decision beside LFS batch, PUT: durable, invisible
//	Commit  straight, or rounds of: head → history → State → Plan → chained commits
//
// What does not depend on an answer is asked at the same time: whether the caller may
// write, beside the head; in the first round, the State as if nobody had committed
// since the job began, and whether the staged files are stored. What cannot have
// changed since the same caller asked for it is not asked again (Memory): a commit's
// listing, a card or rules of the same content, how files of the job's kind are kept.
//
// A job of one commit whose base is where the branch was last seen, and is remembered,
// is committed without a question: the Hub refuses it if the branch has moved or a file
// is not stored, and then a round follows.
//
// A round that ends in a conflict or without an answer is followed by another
// one, which knows nothing but what the Hub says: whether the job's commits are in
// the history decides what is left to do. Every POST names its parent, so of two
// POSTs with the same parent at most one takes effect, and a lost answer is
// settled by looking at what follows the parent:
//
//	head is still the parent    nothing has landed yet: the same POST again
//	the job's line follows it   it happened
//	something else follows it   it did not and cannot any more
//
// What it does not do: it decides no names (writer does) and retries no single
// request but commits (hub does).
package hubsink
