package container_test

import (
	"os"
	"os/exec"
	"path/filepath"

	"slipway/runner/sandbox/sandboxtest"
)

// buildPackage builds a Debian package with one program, and returns its file name in the workspace.
func (a *attempt) buildPackage(name, program string) string {
	a.t.Helper()
	sandboxtest.Need(a.t, "dpkg-deb", "dpkg")
	dir := a.t.TempDir()
	for path, text := range map[string]string{
		"DEBIAN/control": "Package: " + name + "\nVersion: 999\nArchitecture: all\nMaintainer: none <none@example.com>\n" +
			"Description: a test\n",
		program:                       "#!/bin/sh\necho from the package\n",
		"etc/slipway-test.d/" + name:  "setting\n",
		"DEBIAN/conffiles":            "/etc/slipway-test.d/" + name + "\n",
		"DEBIAN/postinst":             "#!/bin/sh\nset -e\nchown www-data /var/lib/" + name + "\n",
		"var/lib/" + name + "/.empty": "",
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			a.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			a.t.Fatal(err)
		}
	}
	file := name + ".deb"
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "--build", dir, filepath.Join(a.workspace, file))
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
	return file
}

// testAddedPackage installs a package that this machine has not.
func (a *attempt) testAddedPackage() {
	sandboxtest.Need(a.t, "apt-get", "apt")
	added := a.buildPackage("slipway-test", "usr/bin/slipway-test")
	out, status := a.run("apt-get install -y ./" + added + " 2>&1")
	if status.Code != 0 {
		a.t.Errorf("apt-get install: got %v and %q, want success", status, out)
	}
	// apt warns without its account, and dpkg stops if an account of statoverride is missing.
	for _, unwanted := range []string{"No sandbox user", "statoverride", "warning:"} {
		sandboxtest.CheckLacks(a.t, "apt-get install", out, unwanted)
	}
	a.same("the installed program", "slipway-test", "from the package")
	// apt downloads as its own user.
	out, status = a.run(`mkdir /tmp/repository && cp ` + added + ` /tmp/repository && cd /tmp/repository &&
		(dpkg-deb -f ` + added + `; echo Filename: ./` + added + `; echo Size: $(stat -c %s *.deb)
		echo SHA256: $(sha256sum < ` + added + ` | cut -d" " -f1)) > Packages &&
		rm -rf /etc/apt/sources.list* && echo "deb [trusted=yes] copy:$PWD ./" > /etc/apt/sources.list &&
		apt-get update && apt-get install -y --reinstall slipway-test`)
	if status.Code != 0 {
		a.t.Errorf("apt-get update and install: got %v and %q, want success", status, out)
	}
	a.same("an owner that the package sets", "stat -c %U /var/lib/slipway-test", "www-data")
	if out, err := exec.Command("dpkg-query", "-W", "slipway-test").CombinedOutput(); err == nil {
		a.t.Errorf("the package database of this machine: got %s, want no such package", out)
	}
}

// testReplacedPackage installs another version of a package of this machine.
func (a *attempt) testReplacedPackage() {
	sandboxtest.Need(a.t, "hostname", "hostname")
	before, err := os.ReadFile("/usr/bin/hostname")
	if err != nil {
		a.t.Fatal(err)
	}
	replaced := a.buildPackage("hostname", "bin/hostname")
	out, status := a.run("dpkg -i " + replaced + " 2>&1")
	if status.Code != 0 {
		a.t.Errorf("dpkg -i: got %v and %q, want success", status, out)
	}
	a.same("the replaced program", "hostname", "from the package")
	after, err := os.ReadFile("/usr/bin/hostname")
	if err != nil || string(after) != string(before) {
		a.t.Errorf("the program of this machine: got another content and %v, want it unchanged", err)
	}
}
