// Package source fetches exactly one commit with the git program, and the submodules that it
// names, hardened as if every repository were hostile: no hook, no configuration but ours, no
// protocol but HTTP and, for submodules, ssh, no redirect, nothing of a payload in a place where
// git reads options. It then answers where paths of the checked-out tree really lead.
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

	"slipway/config/secret"
	"slipway/runner/spec"
)

// Options say where and how to fetch. Dir and Home are required.
type Options struct {
	Dir      string          // the tree's; it must not exist yet, or be empty
	Home     string          // an empty directory: git's HOME
	Environ  []string        // the runner's environment; only what passed() names is handed on
	Log      io.Writer       // a line for people where something is tried again; nil = nowhere
	Attempts uint            // of each network operation; default 6, which last through a restart of the gateway
	Backoff  backoff.BackOff // nil = exponential from 1 s to 20 s, jittered

	SSHKey     secret.Secret // for submodules by ssh; zero = there is none
	KnownHosts string        // lines of ssh's known_hosts, besides those of public servers
}

// Fetch puts the tree of s.Commit into o.Dir, with its .git and no more history than the
// server made necessary. s must have passed spec.Validate. Git fetches from p, while the remote
// origin of the tree is s.URL. Errors are ErrCommitGone, ErrNotFound, ErrRelink, ErrAttemptOver,
// ErrUnauthorized, or the network's after the last attempt.
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

// A fetcher runs git in two environments: only the one for the network holds the token.
type fetcher struct {
	o       Options
	source  spec.Source
	git     git
	network git
}

// fetch asks for the commit by its hash; where the server hands out only what refs point
// at, it takes the ref, whole if need be, and proves that the commit is part of it.
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
		backoff.WithNotify(func(err error, wait time.Duration) { f.say(err, attempt, wait) }))
	return err
}

func (f *fetcher) say(err error, attempt int, wait time.Duration) {
	if f.o.Log == nil {
		return
	}
	reason, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Fprintf(f.o.Log, "fetch did not work (%s); attempt %d in %s\n", reason, attempt+1, wait.Round(time.Second))
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
