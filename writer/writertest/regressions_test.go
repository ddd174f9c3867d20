package writertest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// regression is a bug of writing that was there once, and the test that would find it
// again.
type regression struct {
	what  string // happened
	since string // which change had brought it
	found string // by what; a seed where there is one
	test  string // of this module, in Go or Python
}

// regressions grow by a line with every bug; no line is taken out.
var regressions = []regression{
	{"fixed-size lists of a sliced batch repeated the slice before them, and null ones were refused", "the first encoder", "review", "TestBatchesAreWrittenRightInSlices"},
	{"a job could make a split called all, after which the reference library reads nothing of that config", "the first begin", "an attack on a running server", "TestBeginRefusesWhatCannotBeWritten"},
	{"begin created the repository before it refused the schema", "the first begin", "an attack on a running server", "TestBeginCreatesNothingForASchemaThatCannotBeWritten"},
	{"max_bytes_per_file was looked at between batches only: one batch of 8 MB made one file, whatever the limit", "the first encoder", "an attack on a running server", "TestSmallFilesAreCutNearTheirSizeInsideABatch"},
	{"a reader of a folder saw some files of a commit and not the others", "the first local sink", "review", "TestALocalReaderSeesAllOfACommitOrNothing"},
	{"a folder's commit that another process carried to its end answered no rows", "the first local sink", "kills at failpoints, runs 0 to 179", "TestAServerThatIsKilledAnywhereLosesAndDoublesNothing"},
	{"after a kill between two renames a folder could not be read until the next write", "the readers of intents", "kills at failpoints, runs 0 to 179", "TestAServerThatIsKilledAnywhereLosesAndDoublesNothing"},
	{"a plan of 10,000 files resolved the tree after every batch: 27 s, again after every conflict", "the first plan", "a job of 10,000 files", "TestAPlanOfManyFilesResolvesItsTreeAFewTimes"},
	{"an object that vanished between two commits of a job was named by a path that the caller did not know, not by its partition", "the first hubsink", "objects taken out of the embedded Hub", "TestAnObjectThatVanishesBetweenTwoCommitsOfAJobIsNamed"},
	{"a spool that had become read-only was an internal error without a text", "the first spool", "a read-only mount below a running server", "TestADiskThatFailsUnderAWriteIsAClearErrorAndNothingElse"},
	{"equal rows could become different files: the footer's counts of pages by encoding came in a map's order, so that a retried task sent its object again", "the first own encoder", "pages in scratch compared with pages in memory, one run in two", "TestPagesThatWaitInScratchChangeNoByte"},
	{"a file larger than the whole spool was busy, and clients tried again for ten minutes", "the first spool", "review", "TestAFullSpoolIsBusyAndEmptiedAgain"},
	{"the rule that made a job's large files LFS files was also about its small ones, which are none: git would have shown them as changed", "the first rules", "a job of both in a repository without rules", "TestAFileThatIsTooLargeForACommitIsStoredAsLFSWithItsRule"},
	{"what put printed after a failure stood behind its progress bar", "the first bar", "a pseudo-terminal", "TestScripts"},
	{"put --mode ignore listed the files that it did not write, and as text where JSON was asked for", "the first put", "a script of all modes", "TestScripts"},
	{"bloom_columns took columns as lists of names, which no server knows", "the first options", "a test that looks at a file", "test_write_options_go_to_the_requests_they_belong_to"},
	{"an upload that storage had answered for and not kept was not_found, as if the dataset were not there", "the first upload", "every request of every shape of job answered with garbage", "TestEveryRequestOfAJobMayFail"},
	{"a disk that became full behind a folder's intent left the folder unreadable until there was room", "the first local sink", "a disk with a page left", "TestADiskThatIsFullAtAnyStepOfACommitLeavesTheOldStateOrTheNew"},
	{"a full disk at a folder's lock was taken for somebody else's commit and waited for, two minutes", "the first local sink", "every step of a commit refused in turn", "TestADiskThatIsFullAtAnyStepOfACommitLeavesTheOldStateOrTheNew"},
	{"an attempt that ends while its job is aborted left its files in the staging area for two weeks", "the first abort", "an audit by reading", "TestWhatAnAttemptHasStagedIsDroppedIfItsJobIsAbortedInThatMoment"},
	{"a folder's commit failed as not_found because a losing attempt took back the copy that it had chosen", "the first local sink", "an audit by reading", "TestACopyThatACommitHasChosenIsNotDropped"},
	{"an attempt failed because another one's last file took the folder of the job with it", "the first local sink", "an audit by reading", "TestAnAttemptPutsItsFileThoughTheFolderOfItsJobGoesMeanwhile"},
	{"a decimal that left its 128 bits when its point was moved ended the server: the library panics in a goroutine of its own", "the first conversions", "review", "TestAnAppendIsCoercedWithoutChangingAValue"},
	{"begin took integers for a decimal that has no room for all of them, and then no integer could be staged", "the first conversions", "review", "TestAnAppendIsCoercedWithoutChangingAValue"},
	{"a struct with two fields of one name was written with the values of the first in both", "the first conversions", "review", "TestTwoFieldsOfAStructWithOneNameAreRefusedByPath"},
	{"a column without a value, which has no type, could be appended to numbers and not to lists or structs", "the first conversions", "review", "TestAnAppendIsCoercedWithoutChangingAValue"},
	{"a bloom filter of a boolean column was empty: it denied every value", "the first own encoder", "review", "TestABooleanColumnHasNoBloomFilter"},
	{"bloom_columns for a.b, with a column of this name and a struct a with a field b, failed in the encoder after the rows were sent", "the first own encoder", "review", "TestABloomFilterIsThereForEveryLeafThatCanHaveOne"},
	{"a file whose rows are groups of their own failed as internal after 32,767 of them", "the first encoder", "review", "TestAFileThatHasAllItsRowGroupsIsFollowedByAnother"},
	{"two jobs with different columns that began on an empty split both succeeded, and nothing loaded the split any more", "the first append", "two such jobs raced", "TestTwoThatWriteDifferentColumnsLeaveASplitOfOne"},
	{"after a branch's history was squashed, a job whose rows had been there before it was reported as done, and nothing was written", "the first hubsink", "a squash between stage and commit", "TestEqualRowsAreNotTakenForAJobsOwnIfTheHistoryIsGone"},
	{"put could not send a file with pandas' categories or Polars' strings, and asked for it to be decoded", "the first put", "review", "TestCategoriesAreReadAsTheirValues"},
	{"a commit of a megabyte of records unpacked them all, 1.6 GB, before their sum was found to be too much", "the first records with content", "records of zeros", "TestASmallBodyUnpacksNoMoreThanACommitHolds"},
	{"seconds of a day that were appended in a list or a struct became milliseconds of it, and in a column were refused", "the comparison of columns at the commit", "review", "TestAnAppendIsCoercedWithoutChangingAValue"},
	{"half floats below 2^-14 that were appended to floats became 4e-39 and the like, and such floats were none for a half: the library's", "the first conversions", "random conversions compared with pyarrow's", "TestTheSmallestHalfFloatsAreCoercedAsWhatTheyAre"},
	{"decimals that were appended to integers of 16 bits became whatever was in memory: the library's", "the first conversions", "random conversions compared with pyarrow's", "TestAnAppendIsCoercedWithoutChangingAValue"},
	{"of a decimal with more digits than its type the last ones were written, in silence", "the first encoder", "review", "TestADecimalOfMoreDigitsThanItsTypeIsRefused"},
	{"nulls that were appended to lists of a fixed size took the lists' room: 4 KiB for each that had no byte", "the first conversions", "review", "TestNullsAreNotMadeToListsOfAFixedSizeAllAtOnce"},
	{"a message of 200 bytes, a list of two thousand million nulls, took the memory of the server", "the first stage", "review", "TestListsWithoutBytesAreBounded"},
	{"naming file with two partitions left the rows of the last one in a folder, and said that all were written", "the first naming", "review", "TestOneFileIsOnePartition"},
	{"rows that were staged without a base were appended beside others of other columns", "the first append", "review", "TestAnAppendThatWasStagedWithoutItsBaseIsComparedAtTheCommit"},
	{"in a card with a line separator inside of a text another key's lines were replaced", "the first card", "review", "TestSettingAKeyReplacesItsLinesOnly"},
	{"parts that were written into a config's folder left its counts in the card, with which the reference library refuses to load it, and took away the default's", "the first dataset_info", "review", "TestTheNumbersOfEveryConfigThatAFileOfItsOwnNameChangesAreRemoved"},
	{"an overwrite in a folder that nothing can be moved to, without hard links, kept its readers out for ever", "the commits that are taken back", "review", "TestACommitThatCannotBeginIsTakenBackAlsoWhereNothingCanBeKept"},
}

// TestEveryRegressionIsTestedFor: a test that is renamed takes its line along.
func TestEveryRegressionIsTestedFor(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	defined := regexp.MustCompile(`(?m)^(?:func (Test\w+)\(|def (test_\w+)\()`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(name, ".") && path != root:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "test_"):
			return nil
		}
		raw, err := os.ReadFile(path)
		for _, m := range defined.FindAllStringSubmatch(string(raw), -1) {
			there[m[1]+m[2]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range regressions {
		if !there[r.test] {
			t.Errorf("%s: there is no test %s", r.what, r.test)
		}
		if r.what == "" || r.since == "" || r.found == "" {
			t.Errorf("a line is not complete: %+v", r)
		}
	}
}
