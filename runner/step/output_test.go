package step_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

func TestTheCommitsDateIsTheImages(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	log, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_OUTPUT=type=image,rewrite-timestamp=true")
	if err != nil || !strings.Contains(log, "files keep their dates") ||
		e.Builder.Requests[0].BuildArgs["SOURCE_DATE_EPOCH"] != "" {
		t.Errorf("outside of a repository: %v\n%s", err, log)
	}
	for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x", "--date=1700000000 +0000"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	log, err = e.run("CI_WORKSPACE="+dir, "PLUGIN_OUTPUT=type=image,rewrite-timestamp=true")
	if r := e.Builder.Requests[1]; err != nil || r.BuildArgs["SOURCE_DATE_EPOCH"] != "1700000000" ||
		!r.Options.RewriteTimestamp {
		t.Errorf("%v: asked for %+v\n%s", err, r, log)
	}
}

func TestTheFileOfAnImageStaysInTheWorkspace(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{"link/app.tar", "link/new/app.tar", "../app.tar"} {
		if _, err := e.run(
			"CI_WORKSPACE="+dir,
			"PLUGIN_OUTPUT=type=oci,dest="+dest,
		); err == nil ||
			!strings.Contains(err.Error(), "PLUGIN_OUTPUT") {
			t.Errorf("%s: got %v", dest, err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("written outside: %v, %v", left, err)
	}
	web := strings.TrimSuffix(e.Registry.Image(), "app") + "web"
	log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_OUTPUT=type=docker,dest=out/app.tar",
		"PLUGIN_TAGS=1,2",
		"PLUGIN_REPO="+e.Registry.Image()+","+web,
	)
	if err != nil || !strings.Contains(log, "file        out/app.tar, of type docker (PLUGIN_OUTPUT)") {
		t.Fatalf("%v\n%s", err, log)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := e.Builder.Requests[0].Options.Archive
	if got.Path != filepath.Join(real, "out", "app.tar") ||
		strings.Join(got.Names, " ") != e.Registry.Image()+":1 "+e.Registry.Image()+":2 "+web+":1 "+web+":2" {
		t.Errorf("asked for %+v", got)
	}
}
