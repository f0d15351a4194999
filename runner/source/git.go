package source

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// The errors of Fetch. Match them with errors.Is.
var (
	ErrCommitGone   = errors.New("the repository does not have it any more (a forced push or a deleted branch)")
	ErrUnauthorized = errors.New("the repository does not accept the credential")
	ErrNotFound     = errors.New("the repository does not exist, or the credential cannot read it")
	ErrRelink       = errors.New("the gateway's linked account is not accepted")
	ErrAttemptOver  = errors.New("the attempt is over")

	errNotServed = errors.New("the server refuses to send it")
	errTemporary = errors.New("try again later")
)

// The limits of a git command's output, in bytes. Messages beyond the limit are discarded, and more data is
// an error.
const (
	maxOutput = 8 << 10
	maxRead   = 1 << 20
)

// A git runs commands in one directory with one environment.
type git struct {
	program string
	dir     string
	environ []string
}

// run runs one command in its own process group, so that git's helpers end with it.
func (g git) run(ctx context.Context, args []string) error {
	output := &head{limit: maxOutput}
	return g.runTo(ctx, args, output, output)
}

// read runs one command and returns its output, at most maxRead bytes. More is an error.
func (g git) read(ctx context.Context, args []string) ([]byte, error) {
	out := &head{limit: maxRead + 1}
	if err := g.runTo(ctx, args, out, &head{limit: maxOutput}); err != nil {
		return nil, err
	}
	if out.Len() > maxRead {
		return nil, fmt.Errorf("git %s: the output has more than %d bytes", args[0], maxRead)
	}
	return []byte(out.String()), nil
}

func (g git) runTo(ctx context.Context, args []string, out, problems *head) error {
	//nolint:gosec // git from the search path; command.go makes the arguments
	cmd := exec.CommandContext(ctx, g.program, args...)
	cmd.Dir, cmd.Env = g.dir, g.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = out, problems
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("git %s: %w", args[0], context.Cause(ctx))
	}
	text := strings.TrimSpace(problems.String())
	if kind := classify(args[0], text); kind != nil {
		return fmt.Errorf("git %s: %w: %s: %w", args[0], kind, text, err)
	}
	return fmt.Errorf("git %s: %s: %w", args[0], text, err)
}

// classify maps the messages of a failed git command to an error, or to nil for other commands than
// fetch. LC_ALL=C makes git's messages English.
func classify(command, output string) error {
	if command != "fetch" {
		return nil
	}
	for _, known := range []struct {
		kind  error
		words []string
	}{
		// The first two are messages of the gateway's git proxy.
		{ErrAttemptOver, []string{"the attempt has ended"}},
		{ErrRelink, []string{"link the account again"}},
		{errNotServed, []string{"not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref", "--unshallow on a complete repository"}},
		{ErrUnauthorized, []string{"Authentication failed", "could not read Username", "could not read Password", "error: 401", "error: 403", "Permission denied (publickey"}},
		{errHostKey, []string{"Host key verification failed"}},
		{ErrNotFound, []string{"' not found", "error: 404"}},
		{errRedirected, []string{"error: 301", "error: 302", "error: 303", "error: 307", "error: 308"}},
		{errLocal, []string{"No space left on device", "Permission denied", "unable to create"}},
	} {
		for _, w := range known.words {
			if strings.Contains(output, w) {
				return known.kind
			}
		}
	}
	return errTemporary
}

var (
	errHostKey    = errors.New("the server's key is unknown")
	errRedirected = errors.New(
		"the address redirects, and credentials do not follow redirects: correct the repository's address",
	)
	errLocal = errors.New("the runner's disk cannot be written")
)

// A head keeps the first bytes written to it, up to its limit.
type head struct {
	strings.Builder
	limit int
}

func (h *head) Write(b []byte) (int, error) {
	h.Builder.Write(b[:min(len(b), h.limit-h.Len())])
	return len(b), nil
}
