package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"slipway/runner/spec"
)

// The bounds of submodules: of all, and of how deep one may be in others.
const (
	maxSubmodules     = 100
	maxSubmoduleDepth = 10
)

// ErrSubmodule says that the repository's submodules, or what the automated build has for them,
// are not right. What is, is said around it.
var ErrSubmodule = errors.New("a submodule cannot be fetched")

// Submodules fetches the submodules of a tree that Fetch made, and theirs, each at the commit
// that the tree names, as Docker Hub did: public ones over HTTP, private ones over ssh with
// o.SSHKey. The repository's own credential is not used for them, for whoever may push could
// name any repository that it opens. None is handed to `git submodule`, whose configuration a
// repository writes: each is fetched as the repository itself is. Errors are ErrSubmodule,
// ErrSSHKey, or the network's after the last attempt.
// Source: https://git-scm.com/docs/gitmodules
func Submodules(ctx context.Context, s spec.Source, t Tree, o Options) error {
	if !t.HasSubmodules() {
		return nil
	}
	program, err := exec.LookPath("git")
	if err != nil {
		return fmt.Errorf("find the git program: %w; install git where the runner runs", err)
	}
	m := &modules{o: o, origin: s.URL, program: program}
	if !o.SSHKey.IsZero() {
		if _, err := exec.LookPath("ssh"); err != nil {
			return fmt.Errorf("find the ssh program, for submodules: %w; install openssh-client where the runner runs", err)
		}
		command, stop, err := serveKey(ctx, o.Home, o.SSHKey, o.KnownHosts)
		if err != nil {
			return err
		}
		defer stop()
		m.ssh = command
	}
	return m.fetchAll(ctx, t.Dir, s.URL, "", 0)
}

// A modules fetches the submodules of one tree.
type modules struct {
	o       Options
	origin  string // of the repository itself
	program string
	ssh     string // command; empty = there is no key
	fetched int
}

// A submodule is one of a tree: what .gitmodules says of it, and the commit in the tree.
type submodule struct{ path, url, commit string }

// fetchAll fetches those of the tree in dir, which came from base.
func (m *modules) fetchAll(ctx context.Context, dir, base, above string, depth int) error {
	if !(Tree{Dir: dir}).HasSubmodules() {
		return nil
	}
	if depth == maxSubmoduleDepth {
		return fmt.Errorf("%w: they are in each other more than %d deep (%s)", ErrSubmodule, maxSubmoduleDepth, above)
	}
	all, err := m.list(ctx, dir)
	if err != nil {
		return err
	}
	for _, sub := range all {
		if m.fetched++; m.fetched > maxSubmodules {
			return fmt.Errorf("%w: there are more than %d", ErrSubmodule, maxSubmodules)
		}
		shown := above + sub.path
		place, err := emptyPlace(dir, sub.path)
		if err != nil {
			return fmt.Errorf("%w: %q: %w", ErrSubmodule, shown, err)
		}
		address, err := resolveAddress(base, sub.url, m.ssh != "")
		if err != nil {
			return fmt.Errorf("%w: %q: %w", ErrSubmodule, shown, err)
		}
		if err := m.fetch(ctx, sub, address, place); err != nil {
			return explainSubmodule(shown, address, err)
		}
		if m.o.Log != nil {
			fmt.Fprintf(m.o.Log, "submodule %s is at commit %s\n", shown, sub.commit)
		}
		if err := m.fetchAll(ctx, place, address.text, shown+"/", depth+1); err != nil {
			return err
		}
	}
	return nil
}

// list reads which submodules a tree has. Without a commit in the tree, one is a leftover of
// .gitmodules, and git passes over it, too.
func (m *modules) list(ctx context.Context, dir string) (all []submodule, err error) {
	g := git{program: m.program, dir: dir, environ: environment("", spec.Credential{}, m.o.Home, m.o.Environ)}
	said, err := g.read(ctx, []string{"config", "--file", ".gitmodules", "--no-includes", "-z", "--get-regexp", `^submodule\..*\.(path|url)$`})
	if err != nil {
		return nil, fmt.Errorf("%w: .gitmodules cannot be read: %w", ErrSubmodule, err)
	}
	byName := map[string]*submodule{}
	var names []string
	for record := range bytes.SplitSeq(said, []byte{0}) {
		key, value, _ := strings.Cut(string(record), "\n")
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			continue
		}
		name := key[:dot]
		if byName[name] == nil {
			byName[name] = &submodule{}
			names = append(names, name)
		}
		if key[dot:] == ".path" {
			byName[name].path = value
		} else {
			byName[name].url = value
		}
	}
	for _, name := range names {
		sub := byName[name]
		if sub.path == "" {
			continue
		}
		if sub.commit, err = m.link(ctx, g, sub.path); err != nil {
			return nil, err
		}
		if sub.commit != "" {
			all = append(all, *sub)
		}
	}
	return all, nil
}

// link is the commit that the tree has at a path; empty = it has none there.
func (m *modules) link(ctx context.Context, g git, path string) (string, error) {
	said, err := g.read(ctx, []string{"--literal-pathspecs", "ls-files", "--stage", "-z", "--", path})
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrSubmodule, path, err)
	}
	for record := range bytes.SplitSeq(said, []byte{0}) {
		info, name, _ := strings.Cut(string(record), "\t")
		if fields := strings.Fields(info); name == path && len(fields) == 3 && fields[0] == "160000" {
			return fields[1], nil
		}
	}
	return "", nil
}

// fetch puts the commit of a submodule into its place.
func (m *modules) fetch(ctx context.Context, sub submodule, a address, place string) error {
	pinned, err := a.pin(ctx, m.origin)
	if err != nil {
		return err
	}
	environ := environment(a.text, spec.Credential{}, m.o.Home, m.o.Environ, pinned...)
	if a.ssh {
		if m.ssh == "" {
			return errNoKey
		}
		environ = append(environ, "GIT_SSH_COMMAND="+m.ssh, "GIT_ALLOW_PROTOCOL=ssh")
	}
	f := &fetcher{o: m.o, source: spec.Source{URL: a.text, Commit: sub.commit}, git: git{program: m.program, dir: place, environ: environ}}
	for _, args := range [][]string{initArgs(sub.commit), remoteArgs(a.text)} {
		if err := f.git.run(ctx, args); err != nil {
			return err
		}
	}
	err = f.retry(ctx, fetchHashArgs(sub.commit))
	if errors.Is(err, errNotServed) {
		err = f.retry(ctx, fetchEverythingArgs())
	}
	if err != nil {
		return err
	}
	if err := f.git.run(ctx, checkoutArgs(sub.commit)); err != nil {
		return fmt.Errorf("commit %s: %w: %w", sub.commit, ErrCommitGone, err)
	}
	return nil
}
