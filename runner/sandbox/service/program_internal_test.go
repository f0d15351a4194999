package service

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipway/config/must"
)

// installStep makes a directory with a slipway and a slipway-step, and returns the path of slipway. The step's
// program is this test, whose version is 1.2 (TestMain).
func installStep(t *testing.T, mode os.FileMode) (own string) {
	t.Helper()
	own = filepath.Join(must.Get[string](t)(os.MkdirTemp("", "slipway-program-")), "slipway")
	t.Cleanup(func() { must.Succeed(t, os.RemoveAll(filepath.Dir(own))) })
	must.Succeed(t, os.WriteFile(own, nil, 0o600))
	from := must.Get[*os.File](t)(os.Open(self))
	defer from.Close()
	to := must.Get[*os.File](t)(os.Create(filepath.Join(filepath.Dir(own), stepProgram)))
	_ = must.Get[int64](t)(io.Copy(to, from))
	must.Succeed(t, to.Close())
	must.Succeed(t, os.Chmod(to.Name(), mode))
	return own
}

func TestRunnersUseTheStepsProgramOfTheSameVersion(t *testing.T) {
	own := installStep(t, 0o755)
	p, err := findProgram(t.Context(), own, "1.2")
	must.Succeed(t, err)
	defer func() { must.Succeed(t, p.close()) }()
	if p.path == self {
		t.Fatalf("program: got %s, want the step's program", p.path)
	}
	// An upgrade replaces the file. A runner is another user, who may not enter the directory.
	must.Succeed(t, os.Remove(filepath.Join(filepath.Dir(own), stepProgram)))
	cmd := exec.CommandContext(t.Context(), p.path, "--version")
	cmd.ExtraFiles = []*os.File{os.Stderr}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 64000, Gid: 64000}}
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "slipway version 1.2\n" {
		t.Errorf("version: got %q and error %v, want that of the opened program", out, err)
	}
}

func TestRunnersUseThisProgramIfTheStepsProgramDoesNotFit(t *testing.T) {
	step := func(own string) string { return filepath.Join(filepath.Dir(own), stepProgram) }
	for name, c := range map[string]struct {
		mode    os.FileMode
		version string
		change  func(own string) error
		want    string // a part of the error; empty = none
	}{
		"none":            {mode: 0o755, version: "1.2", change: func(own string) error { return os.Remove(step(own)) }},
		"another version": {mode: 0o755, version: "1.3", want: `its version is "1.2", and that of slipway is "1.3"`},
		"no version":      {mode: 0o755, version: "dev", want: "no version"},
		"not executable":  {mode: 0o750, version: "1.2", want: "cannot execute"},
		"of the group":    {mode: 0o775, version: "1.2", want: "other users"},
		"of anybody":      {mode: 0o757, version: "1.2", want: "other users"},
		"of another user": {mode: 0o755, version: "1.2", want: "other users", change: func(own string) error {
			if os.Geteuid() != 0 {
				t.Skip("SKIPPED: a file of another user needs root, which is absent")
			}
			return os.Chown(step(own), 64000, 64000)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			own := installStep(t, c.mode)
			if c.change != nil {
				must.Succeed(t, c.change(own))
			}
			p, err := findProgram(t.Context(), own, c.version)
			if p.path != self {
				t.Errorf("program: got %s, want %s", p.path, self)
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("reason: got %v, want %q in it", err, c.want)
			}
		})
	}
}

// With umask 002, both programs of a build are of the group.
func TestAGroupThatWritesThisProgramMayWriteTheStepsProgram(t *testing.T) {
	own := installStep(t, 0o775)
	must.Succeed(t, os.Chmod(own, 0o775))
	p, err := findProgram(t.Context(), own, "1.2")
	must.Succeed(t, err)
	if p.path == self {
		t.Errorf("program: got %s, want the step's program", p.path)
	}
	must.Succeed(t, p.close())
}
