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
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "files keep their own dates")
	if e.Builder.Requests[0].BuildArgs["SOURCE_DATE_EPOCH"] != "" {
		t.Errorf(
			`build argument SOURCE_DATE_EPOCH: got %q, want %q`,
			e.Builder.Requests[0].BuildArgs["SOURCE_DATE_EPOCH"],
			"",
		)
	}
	for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x", "--date=1700000000 +0000"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	log, err = e.run("CI_WORKSPACE="+dir, "PLUGIN_OUTPUT=type=image,rewrite-timestamp=true")
	r := e.Builder.Requests[1]
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if r.BuildArgs["SOURCE_DATE_EPOCH"] != "1700000000" {
		t.Errorf("build argument SOURCE_DATE_EPOCH: got %q, want %q", r.BuildArgs["SOURCE_DATE_EPOCH"], "1700000000")
	}
	if !r.Options.RewriteTimestamp {
		t.Errorf("rewriting of timestamps: got false, want true\n%s", log)
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
		_, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_OUTPUT=type=oci,dest="+dest)
		if err == nil {
			t.Errorf("%s: got no error, want one", dest)
			continue
		}
		runnertest.CheckHas(t, dest+": the error", err.Error(), "PLUGIN_OUTPUT")
	}
	left, err := os.ReadDir(outside)
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if got := len(left); got != 0 {
		t.Errorf("files left: got %v, want %v", got, 0)
	}
	web := strings.TrimSuffix(e.Registry.Image(), "app") + "web"
	log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_OUTPUT=type=docker,dest=out/app.tar",
		"PLUGIN_TAGS=1,2",
		"PLUGIN_REPO="+e.Registry.Image()+","+web,
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "file        out/app.tar, of type docker (PLUGIN_OUTPUT)")
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := e.Builder.Requests[0].Options.Archive
	if got.Path != filepath.Join(real, "out", "app.tar") {
		t.Errorf("path of the output: got %v, want %v", got.Path, filepath.Join(real, "out", "app.tar"))
	}
	if got := strings.Join(
		got.Names,
		" ",
	); got != e.Registry.Image()+":1 "+e.Registry.Image()+":2 "+web+":1 "+web+":2" {
		t.Errorf(
			`names of the output: got %v, want %v`,
			got,
			e.Registry.Image()+":1 "+e.Registry.Image()+":2 "+web+":1 "+web+":2",
		)
	}
}
