// Package source fetches exactly one commit and its submodules with the git program. It treats every
// repository as hostile. The program git runs no hook, reads only our configuration, and uses only HTTP
// (and ssh for submodules). It follows no redirect, and never reads a value of a payload as an option.
// The package also resolves paths of the checked-out tree.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/spec"
)

// Options configure a fetch. Dir and Home are required.
type Options struct {
	Dir      string          // directory of the tree; it must be empty or not exist
	Home     string          // an empty directory: git's HOME
	Environ  []string        // the runner's environment; git gets only the variables of passedVariables()
	Log      io.Writer       // gets a line for each retry; nil = none
	Attempts uint            // attempts of each network operation; default 6, enough for a restart of the gateway
	Backoff  backoff.BackOff // nil = exponential from 1 s to 20 s, jittered

	Policy netpolicy.Policy // addresses of submodules

	SSHKey     secret.Secret // key for submodules by ssh; zero = none
	KnownHosts string        // lines of ssh's known_hosts, besides those of public servers
}

// Fetch checks out s.Commit into o.Dir, with as little history as the server allows. The source must have
// passed spec.Validate. The program git fetches from p, and the remote origin of the tree is s.URL.
// Errors: ErrCommitGone, ErrNotFound, ErrRelink, ErrAttemptOver, ErrUnauthorized, or the network's error
// after the last attempt.
func Fetch(ctx context.Context, s spec.Source, p Proxy, o Options) (Tree, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return Tree{}, fmt.Errorf("find the git program: %w; install git where the runner runs", err)
	}
	own := git{program: program, dir: o.Dir, environ: environment(o.Home, o.Environ, p.lfs()...)}
	network := own
	network.environ = environment(o.Home, o.Environ, append(p.lfs(), p.access(s.URL)...)...)
	f := &fetcher{o: o, source: s, git: own, network: network}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil { //nolint:gosec // a work tree, as git makes one
		return Tree{}, fmt.Errorf("make the source directory: %w", err)
	}
	for _, args := range [][]string{initArgs(s.Commit), remoteArgs(s.URL)} {
		if err := f.git.run(ctx, args); err != nil {
			return Tree{}, err
		}
	}
	if err := f.fetch(ctx); err != nil {
		return Tree{}, err
	}
	if err := f.git.run(ctx, checkoutArgs(s.Commit)); err != nil {
		return Tree{}, err
	}
	return Tree{Dir: o.Dir, Commit: s.Commit}, nil
}

// A fetcher runs git in two environments. Only the one for the network contains the token.
type fetcher struct {
	o       Options
	source  spec.Source
	git     git
	network git
}

// fetch requests the commit by its hash. If the server serves only the heads of refs, fetch requests the
// ref, with its history if necessary. Then it checks that the commit is part of that history.
func (f *fetcher) fetch(ctx context.Context) error {
	err := f.retry(ctx, fetchHashArgs(f.source.Commit))
	if !errors.Is(err, errNotServed) {
		return err
	}
	for _, d := range []depth{shallow, whole} {
		err := f.retry(ctx, fetchRefArgs(f.source.Ref, d))
		if errors.Is(err, errNotServed) {
			break
		}
		if err != nil {
			return err
		}
		if f.git.run(ctx, containsArgs(f.source.Commit)) == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("fetch %s: %w", f.source.Ref, context.Cause(ctx))
	}
	return fmt.Errorf("commit %s of %s: %w", f.source.Commit, f.source.Ref, ErrCommitGone)
}

func (f *fetcher) retry(ctx context.Context, args []string) error {
	attempt := 0
	operation := func() (struct{}, error) {
		attempt++
		err := f.network.run(ctx, args)
		if err != nil && !errors.Is(err, errTemporary) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	_, err := backoff.Retry(ctx, operation,
		backoff.WithBackOff(f.backoff()), backoff.WithMaxTries(f.attempts()), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) { f.logRetry(err, attempt, wait) }))
	return err
}

func (f *fetcher) logRetry(err error, attempt int, wait time.Duration) {
	if f.o.Log == nil {
		return
	}
	reason, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Fprintf(f.o.Log, "fetch failed (%s); attempt %d in %s\n", reason, attempt+1, wait.Round(time.Second))
}

func (f *fetcher) attempts() uint {
	if f.o.Attempts == 0 {
		return 6
	}
	return f.o.Attempts
}

func (f *fetcher) backoff() backoff.BackOff {
	if f.o.Backoff != nil {
		return f.o.Backoff
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = time.Second, 2.5, 20*time.Second
	return b
}
