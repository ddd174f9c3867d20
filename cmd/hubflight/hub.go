package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// hubFlags are those of `hubflight hub`.
type hubFlags struct {
	dir, address, cdnAddress, tokenFile, portFile string
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
token file has one "TOKEN public|read|write" per line; # begins a comment.`,
		Example: `  hubflight hub import ./flights demo/flights --dir ./hub
  hubflight hub --dir ./hub --address 127.0.0.1:8080
  HF_ENDPOINT=http://127.0.0.1:8080 HF_HUB_DISABLE_XET=1 python my_script.py`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHub(cmd, f) },
	}
	cmd.PersistentFlags().StringVar(&f.dir, "dir", "", "folder that holds the repositories (made if missing)")
	cmd.Flags().StringVar(&f.address, "address", "127.0.0.1:0", "address of the Hub; port 0 picks a free one")
	cmd.Flags().StringVar(&f.cdnAddress, "cdn-address", "127.0.0.1:0", "address of the storage that large files are redirected to")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file of accepted tokens; without it the Hub is open")
	cmd.Flags().StringVar(&f.portFile, "port-file", "", "file to write the Hub's URL to once it listens")
	cmd.Flags().IntVar(&f.options.PageSize, "page-size", 0, "entries per page of a listing (default 1000)")
	cmd.Flags().DurationVar(&f.options.SignatureTTL, "signature-ttl", 0, "life of a storage URL (default 15m)")
	cmd.Flags().Int64Var(&f.options.MultipartThreshold, "multipart-threshold", 0, "bytes from which a file is uploaded in parts (default 5 GB)")
	cmd.Flags().Int64Var(&f.options.PartSize, "part-size", 0, "bytes of such a part (default 64 MiB)")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log every request")
	cmd.AddCommand(newHubImportCommand(&f))
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
		return nil, err
	}
	options := f.options
	options.Tokens, options.Logger = tokens, logger
	return hubtest.Open(f.dir, options)
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
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	running, err := h.Serve(f.address, f.cdnAddress)
	if err != nil {
		return err
	}
	if f.portFile != "" {
		if err := writePortFile(f.portFile, running.HubURL); err != nil {
			return errors.Join(err, running.Close())
		}
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", running.HubURL); err != nil {
		return errors.Join(source.AsError("hub", err), running.Close())
	}
	<-ctx.Done()
	// Long enough for an upload's last bytes, short enough for a script.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return running.Shutdown(grace)
}

// writePortFile shows the URL in one step: whoever waits for the file never
// reads half of it.
func writePortFile(path, url string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".port-*")
	if err != nil {
		return source.AsError("port file", err)
	}
	defer os.Remove(file.Name()) // gone after the rename
	_, err = fmt.Fprintln(file, url)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return source.AsError("port file", err)
	}
	return nil
}

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
