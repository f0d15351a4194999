package doctor

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"slipway/config"
	"slipway/plugin/engine/embedded"
)

// A vulnerability is a published fault of a program that builds can use against the machine.
type vulnerability struct {
	id    string   // e.g. CVE-2024-21626
	means string   // completes "a build can …"
	fixed []string // the first fixed version of each line, in order, e.g. 1.2.8 and 1.3.3
}

// A program is one that builds of this machine use.
type program struct {
	check Check // also its name
	known []vulnerability
}

// programs returns the programs with their known vulnerabilities, oldest first.
//
//   - https://github.com/opencontainers/runc/security/advisories
//   - https://github.com/git/git/security/advisories
func programs() []program {
	return []program{
		{checkRunc, []vulnerability{
			{"CVE-2024-21626", "leave its container", []string{"1.1.12"}},
			{"CVE-2025-31133", "leave its container", []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}},
		}},
		{checkGit, []vulnerability{
			{"CVE-2025-48384", "run its own code while submodules are fetched", []string{
				"2.43.7", "2.44.4", "2.45.4", "2.46.4", "2.47.3", "2.48.2", "2.49.1", "2.50.1",
			}},
		}},
	}
}

// affects reports whether a version of the program's authors has the vulnerability. A version of a line
// without a fix has it if it is older than all fixes.
func (v vulnerability) affects(version string) bool {
	version = "v" + version
	for _, fixed := range v.fixed {
		fixed = "v" + fixed
		if semver.MajorMinor(fixed) == semver.MajorMinor(version) {
			return semver.Compare(version, fixed) < 0
		}
	}
	return semver.Compare(version, "v"+v.fixed[len(v.fixed)-1]) < 0
}

// fix returns the fixed versions, e.g. "1.2.8, 1.3.3 and 1.4.0-rc.3".
func (v vulnerability) fix() string {
	last := len(v.fixed) - 1
	if last == 0 {
		return v.fixed[0]
	}
	return strings.Join(v.fixed[:last], ", ") + " and " + v.fixed[last]
}

// safePrograms checks the versions of the programs that builds of the embedded engine use.
func safePrograms(ctx context.Context, c config.Gateway) (all []Finding) {
	if !slices.Contains(c.Engines(), embedded.Name) {
		return nil
	}
	for _, p := range programs() {
		all = append(all, p.find(ctx))
	}
	return all
}

// find checks the program that is first in PATH.
func (p program) find(ctx context.Context) Finding {
	path, err := exec.LookPath(string(p.check))
	if err != nil {
		return Finding{Check: p.check, Skipped: true, Note: "not checked: it is not installed here"}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput() //nolint:gosec // found in PATH
	version := versionIn(string(out))
	if err != nil || version == "" {
		return Finding{
			Check: p.check,
			Err:   fmt.Errorf("%s --version prints no version: %s", path, strings.TrimSpace(string(out))),
			Fix:   "install it again",
		}
	}
	return p.assess(path, version, packageOf(path))
}

// number matches the version in the output of `runc --version` and `git --version`.
var number = regexp.MustCompile(`\d+\.\d+\.\d+(?:-rc\.\d+)?`)

// versionIn returns the version of the authors in a text, without what a distribution adds: 1.1.5 for
// "runc version 1.1.5+ds1". It returns "" if there is none.
func versionIn(text string) string {
	return number.FindString(text)
}

// A pkg is the package of a program. Distributions fix old versions without changing the authors' number.
type pkg struct {
	packaged  bool   // a distribution installed the program
	changelog string // of the package; empty = not installed, as in images of containers
}

// assess returns the finding about a version. The number alone does not prove that a package is unsafe: if its
// changelog does not name the fix, the finding is a warning.
func (p program) assess(path, version string, of pkg) Finding {
	var open, patched []vulnerability
	for _, v := range p.known {
		switch {
		case !v.affects(version):
		case strings.Contains(of.changelog, v.id):
			patched = append(patched, v)
		default:
			open = append(open, v)
		}
	}
	f := Finding{Check: p.check, Note: fmt.Sprintf("%s in %s", version, path)}
	if len(open) == 0 {
		for _, v := range patched {
			f.Note += "; its package has the fix of " + v.id
		}
		return f
	}
	newest := open[len(open)-1]
	reason := fmt.Sprintf("%s: with %s a build can %s; fixed in %s", f.Note, newest.id, newest.means, newest.fix())
	if !of.packaged {
		f.Err = errors.New(reason)
		f.Fix = "install a fixed version"
		return f
	}
	f.Warning = true
	f.Note = fmt.Sprintf("%s, or in a newer package of your distribution: upgrade it, and look for %s in its changelog",
		reason, newest.id)
	return f
}

// packageOf finds the distribution's package of a program. Packages install into these directories, and people
// into others.
func packageOf(path string) pkg {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path
	}
	switch filepath.Dir(target) {
	case "/usr/bin", "/usr/sbin", "/bin", "/sbin":
	default:
		return pkg{}
	}
	name := filepath.Base(target)
	return pkg{packaged: true, changelog: readChangelog(filepath.Join("/usr/share/doc", name, "changelog.Debian.gz"))}
}

// maxChangelog is the most that is read of a changelog, in bytes. The newest entries are at its start.
const maxChangelog = 1 << 20

// readChangelog returns the changelog of a package of Debian or Ubuntu, or "". It names the CVEs that the
// package fixes. Source: https://www.debian.org/doc/debian-policy/ch-docs.html#changelog-files-and-release-notes
func readChangelog(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	if err != nil {
		return ""
	}
	newest, _ := io.ReadAll(io.LimitReader(text, maxChangelog)) // if it is damaged, the readable part
	return string(newest)
}
