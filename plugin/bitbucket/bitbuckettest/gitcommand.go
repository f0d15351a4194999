package bitbuckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A gitCommand runs git apart from the machine's configuration.
type gitCommand struct {
	path    string
	backend string // git-http-backend, the CGI program
}

func findGit() (gitCommand, error) {
	path, err := exec.LookPath("git")
	if err != nil {
		return gitCommand{}, fmt.Errorf("find git: %w; install git", err)
	}
	out, err := exec.CommandContext(context.Background(), path, "--exec-path").Output()
	if err != nil {
		return gitCommand{}, fmt.Errorf("ask git for its programs: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return gitCommand{}, fmt.Errorf("find git-http-backend: %w; install the whole of git", err)
	}
	return gitCommand{path: path, backend: backend}, nil
}

// isolation is the environment that keeps the machine's and the person's git configuration
// out. The owner of the directories is not compared, as the demo may run through sudo.
var isolation = []string{
	"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "TZ=UTC",
	"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
}

// run runs git in a repository and returns its output. What it says on its standard error
// becomes part of the error.
func (g gitCommand) run(ctx context.Context, dir string, args ...string) (string, error) {
	return g.runWith(ctx, dir, nil, "", args...)
}

func (g gitCommand) runWith(
	ctx context.Context,
	dir string,
	env []string,
	stdin string,
	args ...string,
) (string, error) {
	cmd := exec.CommandContext(ctx, g.path, args...) //nolint:gosec // git, without a shell
	cmd.Dir = dir
	cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH")}, isolation...), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// refused tells whether git ran and said no, rather than could not run.
func refused(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Exited()
}

// settings are those of every repository.
var settings = `[http]
	receivepack = true
[uploadpack]
	allowAnySHA1InWant = true ; a commit can be fetched by its hash
	allowFilter = true
[receive]
	fsckObjects = true
	autogc = false ; deleted refs stay readable: their webhook is still to be written
[gc]
	auto = 0
[core]
	hooksPath = ` + os.DevNull + `
`

// initRepository makes the bare repository of r.
func (s *Server) initRepository(r *Repository) error {
	r.dir = filepath.Join(s.options.Root, strings.Trim(r.UUID, "{}")+".git")
	_, err := s.git.run(
		context.Background(),
		s.options.Root,
		"init",
		"--quiet",
		"--bare",
		"--template=",
		"--initial-branch=main",
		r.dir,
	)
	if err != nil {
		return err
	}
	config, err := os.OpenFile(filepath.Join(r.dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open the configuration of a repository: %w", err)
	}
	_, err = config.WriteString(settings)
	if err := errors.Join(err, config.Close()); err != nil {
		return fmt.Errorf("write the configuration of a repository: %w", err)
	}
	return nil
}

func removeFile(path string) { _ = os.Remove(path) } // of our own making; it may be gone
