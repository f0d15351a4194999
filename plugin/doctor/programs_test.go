package doctor

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"slipway/config/must"
)

func TestVersionIn(t *testing.T) {
	for text, want := range map[string]string{
		"runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n": "1.1.5",
		"runc version 1.4.0-rc.2\ncommit: v1.4.0-rc.2-0-g1234\n":                 "1.4.0-rc.2",
		"runc version 1.2.5-0ubuntu1~24.04.1\n":                                  "1.2.5",
		"git version 2.39.5\n":                                                   "2.39.5",
		"git version 2.39.5 (Apple Git-154)\n":                                   "2.39.5",
		"git version 2.50.1.windows.1\n":                                         "2.50.1",
		"git version 2.52.0.rc1.18.gabcdef01\n":                                  "2.52.0",
		"git version unknown\n":                                                  "",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("%q: got version %q, want %q", text, got, want)
		}
	}
}

// A7.7: each line of versions has its own first fixed version.
func TestVulnerableVersions(t *testing.T) {
	for _, row := range []struct {
		program  Check
		id       string
		affected []string
		fixed    []string
	}{
		{
			checkRunc, "CVE-2024-21626",
			[]string{"1.0.3", "1.1.5", "1.1.11"},
			[]string{"1.1.12", "1.1.15", "1.2.0", "1.3.0"},
		},
		{
			checkRunc, "CVE-2025-31133",
			[]string{"1.1.5", "1.1.15", "1.2.7", "1.3.0", "1.3.2", "1.4.0-rc.2"},
			[]string{"1.2.8", "1.2.9", "1.3.3", "1.4.0-rc.3", "1.4.0", "1.5.0", "2.0.0"},
		},
		{
			checkGit, "CVE-2025-48384",
			[]string{"2.39.5", "2.43.6", "2.44.3", "2.45.3", "2.46.3", "2.47.2", "2.48.1", "2.49.0", "2.50.0"},
			[]string{"2.43.7", "2.44.4", "2.45.4", "2.46.4", "2.47.3", "2.48.2", "2.49.1", "2.50.1", "2.51.0", "3.0.0"},
		},
	} {
		v := known(t, row.program, row.id)
		for _, version := range row.affected {
			if !v.affects(version) {
				t.Errorf("%s in %s %s: got it fixed, want it affected", row.id, row.program, version)
			}
		}
		for _, version := range row.fixed {
			if v.affects(version) {
				t.Errorf("%s in %s %s: got it affected, want it fixed", row.id, row.program, version)
			}
		}
	}
}

func known(t *testing.T, check Check, id string) vulnerability {
	t.Helper()
	for _, v := range named(t, check).known {
		if v.id == id {
			return v
		}
	}
	t.Fatalf("vulnerabilities of %s: got none with the id %s, want one", check, id)
	return vulnerability{}
}

func named(t *testing.T, check Check) program {
	t.Helper()
	for _, p := range programs() {
		if p.check == check {
			return p
		}
	}
	t.Fatalf("programs: got none with the name %s, want one", check)
	return program{}
}

// A7.7: the program of a distribution is a problem neither if its package has the fix nor if that is unknown.
func TestUnsafeProgramsAreFound(t *testing.T) {
	const debian12 = "git (1:2.39.5-0+deb12u3) bookworm; urgency=medium\n\n  * Fix CVE-2025-48384\n"
	const oldRunc = "runc (1.1.5+ds1-1+deb12u1) bookworm-security; urgency=high\n\n  * CVE-2024-21626: container breakouts\n"
	for name, row := range map[string]struct {
		program Check
		version string
		of      pkg
		want    string
	}{
		"fixed by its authors": {checkGit, "2.50.1", pkg{}, "✓ git          2.50.1 in /bin/git"},
		"fixed by its package": {
			checkGit, "2.39.5", pkg{true, debian12},
			"✓ git          2.39.5 in /bin/git; its package has the fix of CVE-2025-48384",
		},
		"package without a changelog": {
			checkGit, "2.39.5", pkg{packaged: true},
			"! git          2.39.5 in /bin/git: with CVE-2025-48384 a build can run its own code while submodules are " +
				"fetched; fixed in 2.43.7, 2.44.4, 2.45.4, 2.46.4, 2.47.3, 2.48.2, 2.49.1 and 2.50.1, or in a newer " +
				"package of your distribution: upgrade it, and look for CVE-2025-48384 in its changelog",
		},
		"package with one of two fixes": {
			checkRunc, "1.1.5", pkg{true, oldRunc},
			"! runc         1.1.5 in /bin/runc: with CVE-2025-31133 a build can leave its container; fixed in 1.2.8, " +
				"1.3.3 and 1.4.0-rc.3, or in a newer package of your distribution: upgrade it, and look for " +
				"CVE-2025-31133 in its changelog",
		},
		"installed by hand": {
			checkRunc, "1.1.11", pkg{},
			"✕ runc         1.1.11 in /bin/runc: with CVE-2025-31133 a build can leave its container; fixed in 1.2.8, " +
				"1.3.3 and 1.4.0-rc.3: install a fixed version",
		},
	} {
		got := named(t, row.program).assess("/bin/"+string(row.program), row.version, row.of).String()
		if got != row.want {
			t.Errorf("%s: got\n%s, want\n%s", name, got, row.want)
		}
	}
}

// Programs in other directories than a distribution's have no package, also behind a link.
func TestPackageOf(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "git")
	must.Succeed(t, os.WriteFile(own, nil, 0o600))
	link := filepath.Join(dir, "sh")
	must.Succeed(t, os.Symlink("/bin/sh", link))
	for path, want := range map[string]bool{own: false, link: true, "/usr/bin/env": true, "/usr/local/bin/git": false} {
		if got := packageOf(path).packaged; got != want {
			t.Errorf("%s: got packaged %t, want %t", path, got, want)
		}
	}
}

func TestReadChangelog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "changelog.Debian.gz")
	f := must.Get[*os.File](t)(os.Create(path))
	w := gzip.NewWriter(f)
	_, err := w.Write([]byte("  * Fix CVE-2025-48384\n"))
	must.Succeed(t, err)
	must.Succeed(t, w.Close())
	must.Succeed(t, f.Close())
	if got, want := readChangelog(path), "  * Fix CVE-2025-48384\n"; got != want {
		t.Errorf("changelog: got %q, want %q", got, want)
	}
	if got := readChangelog(path + ".none"); got != "" {
		t.Errorf("without a changelog: got %q, want none", got)
	}
}
