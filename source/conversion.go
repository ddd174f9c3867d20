package source

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ConvertedRevision is the branch on which the Hub keeps the Parquet conversion
// of a dataset.
const ConvertedRevision = "refs/convert/parquet"

// ErrConversionPending is the cause of the KindBusy that says that a conversion is
// still being computed. A Hub that limits its caller is busy too, and says nothing
// about the conversion.
var ErrConversionPending = errors.New("the conversion is pending")

// Conversion is what the dataset viewer says about a dataset's conversion to
// Parquet. Its JSON form is the viewer's own.
type Conversion struct {
	// Commit is the one of the default branch that the answer was computed from;
	// "" if the viewer does not say.
	Commit  string          `json:"-"`
	Files   []ConvertedFile `json:"parquet_files"`
	Pending []ConversionJob `json:"pending"`
	Failed  []ConversionJob `json:"failed"`
	// Partial is true if any config was cut off.
	Partial bool `json:"partial"`
}

// ConvertedFile is one file of a conversion. Split never has the prefix
// "partial-"; only the URL shows it.
type ConvertedFile struct {
	Dataset  string `json:"dataset"`
	Config   string `json:"config"`
	Split    string `json:"split"`
	URL      string `json:"url"`
	Filename string `json:"filename"`
	Size     int64  `json:"size"`
}

// ConversionJob is a config, or a split of one, that is not converted (yet).
// Config is null for the whole dataset, Split for all splits.
type ConversionJob struct {
	Kind    string  `json:"kind"`
	Dataset string  `json:"dataset"`
	Config  *string `json:"config"`
	Split   *string `json:"split"`
}

// Concerns reports whether the job is about a config.
func (j ConversionJob) Concerns(config string) bool { return j.Config == nil || *j.Config == config }

// Path returns the file's path in the conversion branch, "" if the URL is not of
// a file there.
func (f ConvertedFile) Path() string {
	u, err := url.Parse(f.URL)
	if err != nil {
		return ""
	}
	_, path, ok := strings.Cut(u.Path, "/resolve/"+ConvertedRevision+"/") // u.Path is unescaped
	if !ok || ValidatePath(path) != "" {
		return ""
	}
	return path
}

// Validate refuses files without a name or with an impossible size.
func (c Conversion) Validate() error {
	for i, f := range c.Files {
		if f.Config == "" || f.Split == "" || f.Filename == "" || f.URL == "" || f.Size < 0 {
			return fmt.Errorf("parquet_files[%d] has no config, split, file name, address or size", i)
		}
	}
	return nil
}
