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

// A gitCommand runs git without the machine's and the user's configuration.
type gitCommand struct {
	path    string
	backend string // git-http-backend, the CGI program
}

func findGit() (gitCommand, error) {
	path, err := exec.LookPath("git")
	if err != nil {
		return gitCommand{}, fmt.Errorf("find git: %w: install git", err)
	}
	out, err := exec.CommandContext(context.Background(), path, "--exec-path").Output()
	if err != nil {
		return gitCommand{}, fmt.Errorf("git --exec-path: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return gitCommand{}, fmt.Errorf("find git-http-backend: %w: install the complete git package", err)
	}
	return gitCommand{path: path, backend: backend}, nil
}

// isolation is the environment that turns off the machine's and the user's git configuration. git must
// not check the owner of directories, because the demo may run with sudo.
var isolation = []string{
	"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "TZ=UTC",
	"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
}

// run runs git in a repository and returns its output. The error contains git's standard error.
func (g gitCommand) run(ctx context.Context, dir string, args ...string) (string, error) {
	return g.runWith(ctx, dir, nil, "", args...)
}

func (g gitCommand) runWith(
	ctx context.Context, dir string, env []string, stdin string, args ...string,
) (string, error) {
	cmd := exec.CommandContext(ctx, g.path, args...) //nolint:gosec // git, without a shell
	cmd.Dir = dir
	cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH")}, isolation...), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errText bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errText
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errText.String()))
	}
	return out.String(), nil
}

// isGitError reports whether git ran and exited with an error.
func isGitError(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Exited()
}

// settings is the git configuration of every repository.
var settings = `[http]
	receivepack = true
[uploadpack]
	allowAnySHA1InWant = true ; a commit can be fetched by its hash
	allowFilter = true
[receive]
	fsckObjects = true
	autogc = false ; the webhook of a deleted ref needs its objects
[gc]
	auto = 0
[core]
	hooksPath = ` + os.DevNull + `
`

// initRepository creates the bare git repository of r.
func (s *Server) initRepository(r *Repository) error {
	r.dir = filepath.Join(s.options.Root, strings.Trim(r.UUID, "{}")+".git")
	args := []string{"init", "--quiet", "--bare", "--template=", "--initial-branch=main", r.dir}
	_, err := s.git.run(context.Background(), s.options.Root, args...)
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

func removeFile(path string) { _ = os.Remove(path) } // best effort: a temporary file
