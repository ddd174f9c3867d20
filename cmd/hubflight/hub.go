package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// hubFlags are those of `hubflight hub`.
type hubFlags struct {
	dir, address, cdnAddress, tokenFile, portFile string
	faultFile, plainFiles                         string
	verbose                                       bool
	options                                       hubtest.Options
}

// newHubCommand makes `hubflight hub`, the Hub in a folder, and `hub import`.
func newHubCommand() *cobra.Command {
	var f hubFlags
	cmd := &cobra.Command{
		Use:   "hub --dir DIR",
		Short: "Run a small Hugging Face Hub that keeps dataset repositories in a folder",
		Long: `Run a small Hugging Face Hub that keeps dataset repositories in a folder.

It is for demos, tests and machines without internet: huggingface_hub, datasets
and hubflight work with it when HF_ENDPOINT (or hub.endpoint) is the address that
it prints. Repositories are bare git repositories below DIR/datasets.

Without --token-file everybody who reaches the address may read and write. A
token file has one "TOKEN public|read|write" per line; # begins a comment.

What converts datasets to Parquet on the real Hub is not here, but what it makes
is: files imported with --revision refs/convert/parquet, as config/split/0000.parquet,
are listed at /api/datasets/NS/NAME/parquet and by the dataset viewer, which
answers /parquet?dataset= and /info?dataset= on --viewer-address, and in any case
below the Hub's address in /datasets-server ("hub conversion" sets what it says).

--faults makes it fail as real servers do. The file has one fault per line:

  ORIGIN METHOD PATH WHICH: WHAT
  cdn GET * #3: cut 1000                           the third download breaks off
  any any /api/ 5%/7: status 503 Retry-After="1"   a twentieth of the calls, by seed 7
  hub POST /commit/ every: after reset             commits land, their answers are lost
  any any * every: delay 30ms                      everything is late`,
		Example: `  hubflight hub import ./flights demo/flights --dir ./hub
  hubflight hub --dir ./hub --address 127.0.0.1:8080
  HF_ENDPOINT=http://127.0.0.1:8080 HF_HUB_DISABLE_XET=1 python my_script.py`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHub(cmd, f) },
	}
	cmd.PersistentFlags().StringVar(&f.dir, "dir", "", "folder that holds the repositories (made if missing)")
	cmd.Flags().StringVar(&f.address, "address", "127.0.0.1:0", "address of the Hub; port 0 picks a free one")
	cmd.Flags().StringVar(&f.cdnAddress, "cdn-address", "", "address of the storage that large files are redirected to (default: a free port beside --address)")
	cmd.Flags().StringVar(&f.options.CDNURL, "cdn-url", "", "URL of the storage as clients reach it, where a proxy stands in front (default: that of --cdn-address)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file of accepted tokens; without it the Hub is open")
	cmd.Flags().StringVar(&f.portFile, "port-file", "", "file to write the Hub's URL to once it listens")
	cmd.Flags().IntVar(&f.options.PageSize, "page-size", 0, "entries per page of a listing (default 1000)")
	cmd.Flags().DurationVar(&f.options.SignatureTTL, "signature-ttl", 0, "life of a storage URL (default 15m)")
	cmd.Flags().Int64Var(&f.options.MultipartThreshold, "multipart-threshold", 0, "bytes from which a file is uploaded in parts (default 5 GB)")
	cmd.Flags().Int64Var(&f.options.PartSize, "part-size", 0, "bytes of such a part (default 64 MiB)")
	cmd.Flags().BoolVar(&f.options.ShuffledParts, "shuffled-parts", false, "list these parts in no order")
	cmd.Flags().StringVar(&f.options.ViewerAddress, "viewer-address", "", "address of the dataset viewer; its URL is printed, and written, after the Hub's")
	cmd.Flags().StringVar(&f.options.PathPrefix, "path-prefix", "", `where the Hub begins on its address ("/hf")`)
	cmd.Flags().BoolVar(&f.options.SameHostCDN, "same-host-cdn", false, "announce the storage under the Hub's own host name")
	cmd.Flags().BoolVar(&f.options.PublicHrefs, "public-hrefs", false, "name https://huggingface.co in upload targets, as mirrors do")
	cmd.Flags().StringVar(&f.plainFiles, "plain-files", "mixed", "answer for plain git files: mixed, redirected or direct")
	cmd.Flags().BoolVar(&f.options.XetHeaders, "xet-headers", false, "announce Xet, which is not served")
	cmd.Flags().DurationVar(&f.options.CommitTime, "commit-time", 0, "how long a commit takes; others are refused meanwhile")
	cmd.Flags().IntVar(&f.options.RateLimits.API, "api-limit", 0, "API calls per caller in five minutes (default no limit)")
	cmd.Flags().IntVar(&f.options.RateLimits.Resolvers, "resolver-limit", 0, "resolved files per caller in five minutes (default no limit)")
	cmd.Flags().IntVar(&f.options.RateLimits.Commits, "commit-limit", 0, "commits per caller in an hour (default no limit)")
	cmd.Flags().StringVar(&f.faultFile, "faults", "", "file of faults")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log every request")
	cmd.AddCommand(newHubImportCommand(&f), newHubConversionCommand(&f), newHubMoveCommand(&f))
	return cmd
}

func newHubImportCommand(f *hubFlags) *cobra.Command {
	revision, private := "main", false
	cmd := &cobra.Command{
		Use:   "import FOLDER NS/NAME --dir DIR",
		Short: "Add the files of a folder to a repository, in one commit",
		Long: `Add the files of a folder to a repository of the Hub in DIR, in one commit.

The repository is made if it is missing. Files that it has and the folder has not
stay. A running "hubflight hub" on the same folder shows the commit at once.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := openHub(*f, nil)
			if err != nil {
				return err
			}
			if private {
				if err := makePrivate(h, args[1]); err != nil {
					return err
				}
			}
			sha, err := h.ImportTo(args[0], args[1], revision)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s@%s\n", args[1], sha)
			return err
		},
	}
	cmd.Flags().StringVar(&revision, "revision", revision, "branch, or refs/convert/NAME, to commit to")
	cmd.Flags().BoolVar(&private, "private", false, "make the repository private: reading it needs a token with the right")
	return cmd
}

func newHubConversionCommand(f *hubFlags) *cobra.Command {
	var c hubtest.Conversion
	cmd := &cobra.Command{
		Use:   "conversion NS/NAME --dir DIR",
		Short: "Set what the dataset viewer says of a repository's conversion to Parquet",
		Long: `Set what the dataset viewer says of a repository's conversion to Parquet.

States: fresh, stale (of an earlier commit), pending, failed, partial, not-ready
(500 ResponseNotReady), broken (500) and blocked (501). Without a state it says
what is so: fresh until main moves on, and not ready without the branch. The files
are those on refs/convert/parquet.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := openHub(*f, nil)
			if err != nil {
				return err
			}
			return h.SetConversion(args[0], c)
		},
	}
	cmd.Flags().StringVar((*string)(&c.State), "state", "", "what to say; empty is what is so")
	cmd.Flags().StringSliceVar(&c.Configs, "config", nil, "configs that the state is about (default all)")
	cmd.Flags().StringVar(&c.Revision, "of", "", "commit of main that was converted")
	return cmd
}

func newHubMoveCommand(f *hubFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "move FROM TO --dir DIR",
		Short: "Rename a repository; its old name leads to the new one",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := openHub(*f, nil)
			if err != nil {
				return err
			}
			return h.Move(args[0], args[1])
		},
	}
}

// makePrivate hides a repository before there is anything in it to see.
func makePrivate(h *hubtest.Hub, id string) error {
	err := h.Create(id, hubtest.Settings{Private: true})
	if source.KindOf(err) != source.KindExists {
		return err
	}
	settings, err := h.Settings(id)
	if err != nil {
		return err
	}
	settings.Private = true
	return h.Configure(id, settings)
}

func openHub(f hubFlags, logger *slog.Logger) (*hubtest.Hub, error) {
	if f.dir == "" {
		return nil, &usageError{source.Errorf(source.KindInvalid, "hub", "--dir is missing").WithHint("name the folder that holds the repositories")}
	}
	tokens, err := readHubTokens(f.tokenFile)
	if err != nil {
		return nil, &usageError{err}
	}
	options := f.options
	options.Tokens, options.Logger = tokens, logger
	plain, ok := map[string]hubtest.PlainFiles{"": hubtest.Mixed, "mixed": hubtest.Mixed, "redirected": hubtest.Redirected, "direct": hubtest.Direct}[f.plainFiles]
	if !ok {
		return nil, &usageError{source.Errorf(source.KindInvalid, "hub", "--plain-files is mixed, redirected or direct, not %q", f.plainFiles)}
	}
	options.PlainFiles = plain
	faults, err := readFaults(f.faultFile)
	if err != nil {
		return nil, &usageError{err}
	}
	h, err := hubtest.Open(f.dir, options)
	if err != nil {
		return nil, err
	}
	h.Run(faults)
	return h, nil
}

// readFaults reads a fault script; an empty name gives none.
func readFaults(path string) (hubtest.Script, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, &source.Error{Op: "fault script", Kind: source.KindInvalid, Err: err}
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxFaultFile+1)) // what is longer is refused
	if err != nil {
		return nil, source.AsError("fault script", err)
	}
	return hubtest.ParseScript(string(raw))
}

func runHub(cmd *cobra.Command, f hubFlags) error {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	h, err := openHub(f, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
	if err != nil {
		return err
	}
	ctx := cmd.Context() // which a signal ends
	running, err := h.Serve(f.address, cmp.Or(f.cdnAddress, beside(f.address)))
	if err != nil {
		return &usageError{err}
	}
	urls := running.HubURL
	if f.options.ViewerAddress != "" {
		urls += "\n" + running.ViewerURL
	}
	if f.portFile != "" {
		if err := writePortFile(f.portFile, urls); err != nil {
			return errors.Join(&usageError{fmt.Errorf("--port-file: %w", err)}, running.Close())
		}
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", urls); err != nil {
		return errors.Join(source.AsError("hub", err), running.Close())
	}
	<-ctx.Done()
	// Long enough for an upload's last bytes, short enough for a script.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return running.Shutdown(grace)
}

// beside is a free port of the same host: whoever reaches the Hub has to reach its
// storage, too.
func beside(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "127.0.0.1:0" // the Hub's own listener says what is wrong
	}
	return net.JoinHostPort(host, "0")
}

// writePortFile shows the URL in one step: whoever waits for the file never
// reads half of it.
func writePortFile(path, url string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".port-*")
	if err != nil {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	defer os.Remove(file.Name()) // gone after the rename
	_, err = fmt.Fprintln(file, url)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// maxFaultFile bounds a file of faults.
const maxFaultFile = 1 << 20

// maxTokenLine bounds a line of a token file.
const maxTokenLine = 4096

// readHubTokens reads a token file; an empty name gives no tokens. Errors name
// the line and never its content.
func readHubTokens(path string) (map[string]hubtest.Rights, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, &source.Error{Op: "token file", Kind: source.KindInvalid, Err: err}
	}
	defer file.Close()
	tokens := map[string]hubtest.Rights{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxTokenLine)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		rights, ok := hubtest.Rights(0), false
		if len(fields) == 2 {
			rights, ok = hubtest.ParseRights(fields[1])
		}
		if !ok {
			return nil, source.Errorf(source.KindInvalid, "token file", `line %d is not "TOKEN public|read|write"`, n)
		}
		tokens[fields[0]] = rights
	}
	if err := lines.Err(); err != nil {
		return nil, source.AsError("token file", err)
	}
	if len(tokens) == 0 {
		// An empty file must not open the Hub to everybody.
		return nil, source.Errorf(source.KindInvalid, "token file", "it holds no token")
	}
	return tokens, nil
}
