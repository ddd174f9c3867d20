package failpoint

// Point is a place in the protocol between two steps.
type Point string

// The places, in the order in which a job comes by them.
const (
	BeginStarts  Point = "begin starts"
	BeginCreated Point = "begin created what was missing"
	BeginPinned  Point = "begin pinned the head"

	StageStarts   Point = "stage starts"
	StageEncoded  Point = "stage encoded a file"
	StageAsked    Point = "stage knows how the file is stored"
	StageStored   Point = "stage stored the file"
	StageRecorded Point = "stage recorded the file"
	StageAnswers  Point = "stage answers"

	CommitStarts   Point = "commit starts"
	CommitSearched Point = "commit searched the history"
	CommitPlanned  Point = "commit planned"
	CommitChecked  Point = "commit knows that the files are stored"
	CommitPosts    Point = "commit posts a batch"
	CommitPosted   Point = "commit posted a batch"
	CommitAnswers  Point = "commit answers"

	// Of folders, in place of some of the above.
	LocalWritten  Point = "local wrote a file"
	LocalSynced   Point = "local synced the file"
	LocalRenamed  Point = "local gave the file its name"
	LocalFlushes  Point = "local is about to sync a folder"
	LocalFlushed  Point = "local synced a folder"
	LocalIntends  Point = "local is about to write the intent"
	LocalIntended Point = "local wrote the intent"
	LocalMoves    Point = "local is about to rename a file into place"
	LocalMoved    Point = "local renamed a file into place"
	LocalDeletes  Point = "local is about to delete a file"
	LocalDeleted  Point = "local deleted a file"
	LocalSyncs    Point = "local is about to sync the folders"
	LocalSettled  Point = "local synced the folders"
	LocalDone     Point = "local wrote the answer"
	LocalCleaned  Point = "local removed the staging area"
	LocalEnded    Point = "local synced the last folder"
)

// Hub are the places that a job for the Hub comes by.
func Hub() []Point {
	return []Point{BeginStarts, BeginCreated, BeginPinned, StageStarts, StageEncoded, StageAsked, StageStored, StageRecorded, StageAnswers,
		CommitStarts, CommitSearched, CommitPlanned, CommitChecked, CommitPosts, CommitPosted, CommitAnswers}
}

// Local are the places that a job for a folder comes by.
func Local() []Point {
	return []Point{BeginStarts, BeginPinned, StageStarts, StageEncoded, LocalWritten, LocalSynced, LocalRenamed, LocalFlushes, LocalFlushed, StageStored, StageRecorded, StageAnswers,
		CommitStarts, LocalIntends, LocalIntended, LocalMoves, LocalMoved, LocalDeletes, LocalDeleted, LocalSyncs, LocalSettled, LocalDone, LocalCleaned, LocalEnded, CommitAnswers}
}
