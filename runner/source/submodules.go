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

// The limits of submodules: their number, and their nesting depth.
const (
	maxSubmodules     = 100
	maxSubmoduleDepth = 10
)

// ErrSubmodule reports a submodule that the repository or the automated build configures wrongly. The
// error around it names the problem and the fix.
var ErrSubmodule = errors.New("a submodule cannot be fetched")

// Submodules fetches the submodules of a tree of Fetch, and their submodules, at the commits in the
// trees. Like Docker Hub, it fetches public ones over HTTP, and private ones over ssh with o.SSHKey. Only
// a submodule that is the build's own repository goes through the proxy, which serves no other one. So a
// push cannot open a repository by naming it. The package does not run `git submodule`, because the
// repository writes its configuration. Errors: ErrSubmodule, ErrSSHKey, or the network's error after the
// last attempt.
// Source: https://git-scm.com/docs/gitmodules
func Submodules(ctx context.Context, s spec.Source, p Proxy, t Tree, o Options) error {
	if !t.HasSubmodules() {
		return nil
	}
	program, err := exec.LookPath("git")
	if err != nil {
		return fmt.Errorf("find the git program: %w; install git where the runner runs", err)
	}
	m := &modules{o: o, proxy: p, origin: s.URL, program: program}
	if !o.SSHKey.IsZero() {
		if _, err := exec.LookPath("ssh"); err != nil {
			return fmt.Errorf(
				"find the ssh program, for submodules: %w; install openssh-client where the runner runs",
				err,
			)
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
	proxy   Proxy
	origin  string // URL of the repository itself
	program string
	ssh     string // ssh command; empty = no key
	fetched int
}

// A submodule is an entry of .gitmodules with its commit in the tree.
type submodule struct{ path, url, commit string }

// fetchAll fetches the submodules of the tree in dir. base is the URL of that tree.
func (m *modules) fetchAll(ctx context.Context, dir, base, above string, depth int) error {
	if !(Tree{Dir: dir}).HasSubmodules() {
		return nil
	}
	if depth == maxSubmoduleDepth {
		return fmt.Errorf("%w: they are nested more than %d deep (%s)", ErrSubmodule, maxSubmoduleDepth, above)
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
		place, err := emptyDir(dir, sub.path)
		if err != nil {
			return fmt.Errorf("%w: %q: %w", ErrSubmodule, shown, err)
		}
		address, err := m.resolve(base, sub.url)
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

// list returns the submodules of a tree. It ignores entries of .gitmodules without a commit in the tree,
// as git does.
func (m *modules) list(ctx context.Context, dir string) (all []submodule, err error) {
	g := git{program: m.program, dir: dir, environ: environment(m.o.Home, m.o.Environ, m.proxy.lfs()...)}
	output, err := g.read(
		ctx,
		[]string{
			"config",
			"--file",
			".gitmodules",
			"--no-includes",
			"-z",
			"--get-regexp",
			`^submodule\..*\.(path|url)$`,
		},
	)
	if err != nil {
		return nil, fmt.Errorf("%w: .gitmodules cannot be read: %w", ErrSubmodule, err)
	}
	byName := map[string]*submodule{}
	var names []string
	for record := range bytes.SplitSeq(output, []byte{0}) {
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
		sub.commit, err = m.commitAt(ctx, g, sub.path)
		if err != nil {
			return nil, err
		}
		if sub.commit != "" {
			all = append(all, *sub)
		}
	}
	return all, nil
}

// commitAt returns the commit of the submodule at a path of the tree, or "" if there is none.
func (m *modules) commitAt(ctx context.Context, g git, path string) (string, error) {
	output, err := g.read(ctx, []string{"--literal-pathspecs", "ls-files", "--stage", "-z", "--", path})
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrSubmodule, path, err)
	}
	for record := range bytes.SplitSeq(output, []byte{0}) {
		info, name, _ := strings.Cut(string(record), "\t")
		if fields := strings.Fields(info); name == path && len(fields) == 3 && fields[0] == "160000" {
			return fields[1], nil
		}
	}
	return "", nil
}

// fetch checks out the commit of a submodule in its directory.
func (m *modules) fetch(ctx context.Context, sub submodule, a address, place string) error {
	environ, err := m.network(ctx, a)
	if err != nil {
		return err
	}
	own := git{program: m.program, dir: place, environ: environment(m.o.Home, m.o.Environ, m.proxy.lfs()...)}
	network := own
	network.environ = environ
	f := &fetcher{o: m.o, source: spec.Source{URL: a.text, Commit: sub.commit}, git: own, network: network}
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

// resolve parses a submodule's url. A url of the build's own repository, in any spelling, becomes that
// repository's address.
func (m *modules) resolve(base, given string) (address, error) {
	if sameRepository(given, m.origin) {
		return address{text: m.origin, own: true}, nil
	}
	a, err := resolveAddress(base, given, m.ssh != "")
	if err == nil && sameRepository(a.text, m.origin) {
		return address{text: m.origin, own: true}, nil
	}
	return a, err
}

// network returns git's environment for the fetch of a submodule: through the proxy, over ssh with the
// automated build's key, or without a credential.
func (m *modules) network(ctx context.Context, a address) ([]string, error) {
	settings := m.proxy.lfs()
	if a.own {
		return environment(m.o.Home, m.o.Environ, append(settings, m.proxy.access(a.text)...)...), nil
	}
	pinned, err := a.pin(ctx, m.origin, m.o.Policy)
	if err != nil {
		return nil, err
	}
	environ := environment(m.o.Home, m.o.Environ, append(settings, pinned...)...)
	if !a.ssh {
		return environ, nil
	}
	if m.ssh == "" {
		return nil, errNoKey
	}
	return append(environ, "GIT_SSH_COMMAND="+m.ssh, "GIT_ALLOW_PROTOCOL=ssh"), nil
}
