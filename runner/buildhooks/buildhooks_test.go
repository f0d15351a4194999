package buildhooks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/buildhooks"
	"slipway/runner/source"
)

// tree returns a source tree with these hooks next to svc/Dockerfile.
func tree(t *testing.T, hooks map[buildhooks.Name]string) source.Tree {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "svc", "hooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, script := range hooks {
		// Without the executable bit, like a commit from Windows.
		if err := os.WriteFile(filepath.Join(dir, "svc", "hooks", string(name)), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return source.Tree{Dir: dir}
}

func find(t *testing.T, hooks map[buildhooks.Name]string) buildhooks.Hooks {
	t.Helper()
	h, err := buildhooks.Find(tree(t, hooks), "svc/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func run(t *testing.T, h buildhooks.Hooks, name buildhooks.Name, env ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	e := buildhooks.Execution{Environ: append(env, "PATH="+os.Getenv("PATH")), Output: &out}
	err := h.Run(t.Context(), name, buildhooks.Process{}, e)
	return out.String(), err
}

func TestB1AllHooksInDockerHubsOrder(t *testing.T) {
	all := map[buildhooks.Name]string{}
	for _, name := range buildhooks.Order() {
		all[name] = "#!/bin/sh\necho " + string(name) + "\n"
	}
	h := find(t, all)
	var output strings.Builder
	for _, name := range h.Present() {
		out, err := run(t, h, name)
		if err != nil {
			t.Fatal(err)
		}
		output.WriteString(out)
	}
	want := "post_checkout\npre_build\nbuild\npost_build\npre_test\ntest\npost_test\npre_push\npush\npost_push\n"
	if diff := cmp.Diff(want, output.String()); diff != "" {
		t.Errorf("output of the hooks (-want +got):\n%s", diff)
	}
	pushing := slices.DeleteFunc(buildhooks.Order(), func(n buildhooks.Name) bool { return !n.Pushes() })
	if diff := cmp.Diff([]buildhooks.Name{"pre_push", "push", "post_push"}, pushing); diff != "" {
		t.Errorf("pushing hooks (-want +got):\n%s", diff)
	}
}

func TestB3AFailureHasTheNameAndTheExitCode(t *testing.T) {
	h := find(t, map[buildhooks.Name]string{buildhooks.PreBuild: "#!/bin/sh\nexit 3\n"})
	_, err := run(t, h, buildhooks.PreBuild)
	var failure *buildhooks.Failure
	switch {
	case !errors.As(err, &failure):
		t.Fatalf("hook: got error %v, want a %T", err, failure)
	case failure.Hook != buildhooks.PreBuild:
		t.Fatalf("hook in the error: got %v, want %v", failure.Hook, buildhooks.PreBuild)
	case failure.Code != 3:
		t.Fatalf("exit code: got %v, want 3", failure.Code)
	}
	for _, part := range []string{"hooks/pre_build", "exit code 3"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error: got %q, want %q in it", err, part)
		}
	}
}

func TestB4RunsInTheDockerfilesFolder(t *testing.T) {
	h := find(t, map[buildhooks.Name]string{buildhooks.PostCheckout: "#!/bin/sh\npwd -P\n"})
	out, err := run(t, h, buildhooks.PostCheckout)
	if err != nil || filepath.Base(strings.TrimSpace(out)) != "svc" {
		t.Errorf("working directory of the hook: got %q, error %v, want svc", out, err)
	}
}

func TestAMissingHookIsSkipped(t *testing.T) {
	h := find(t, nil)
	switch out, err := run(
		t,
		h,
		buildhooks.Build,
	); {
	case out != "":
		t.Errorf("output without a hook: got %q, want none", out)
	case err != nil:
		t.Errorf("run without a hook: got error %v, want nil", err)
	case h.Has(buildhooks.Build):
		t.Error("Has(build) without hooks: got true, want false")
	case h.Present() != nil:
		t.Errorf("present hooks: got %v, want none", h.Present())
	}
}

// O5: a hook must be a file of the repository. A link out of it is rejected.
func TestO5HooksStayInTheTree(t *testing.T) {
	tr := tree(t, nil)
	if err := os.Symlink("/bin/true", filepath.Join(tr.Dir, "svc/hooks/build")); err != nil {
		t.Fatal(err)
	}
	if _, err := buildhooks.Find(tr, "svc/Dockerfile"); err == nil || !strings.Contains(err.Error(), "build") {
		t.Errorf("a link out of the tree: got error %v, want %q in it", err, "build")
	}
	if _, err := buildhooks.Find(tr, "none/Dockerfile"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that does not exist: got error %v, want %v", err, fs.ErrNotExist)
	}
}

func TestHookThatCannotStart(t *testing.T) {
	missing := "#!" + t.TempDir() + "/missing\n"
	for name, script := range map[string]string{"no such program": missing, "no first line": "echo\n"} {
		h := find(t, map[buildhooks.Name]string{buildhooks.Test: script})
		_, err := run(t, h, buildhooks.Test)
		switch {
		case err == nil:
			t.Errorf("%s: got no error, want one", name)
		case !strings.Contains(err.Error(), "first line"):
			t.Errorf(`%s: got error %v, want "first line" in it`, name, err)
		case !strings.Contains(err.Error(), "hooks/test"):
			t.Errorf(`%s: got error %v, want "hooks/test" in it`, name, err)
		}
	}
}

func TestKilledHook(t *testing.T) {
	h := find(t, map[buildhooks.Name]string{buildhooks.Test: "#!/bin/sh\nkill -9 $$\n"})
	if _, err := run(t, h, buildhooks.Test); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf(`hook: got error %v, want "killed" in it`, err)
	}
}

// Processes that a hook leaves behind are killed, and their open output does not block.
func TestRemainingProcessesAreKilled(t *testing.T) {
	h := find(t, map[buildhooks.Name]string{buildhooks.PreBuild: "#!/bin/sh\nsleep 1000 &\necho $!\n"})
	out, err := run(t, h, buildhooks.PreBuild)
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, out)
}

func TestCancelEndsTheWholeGroup(t *testing.T) {
	for name, script := range map[string]string{
		"at the asking": "#!/bin/sh\necho $$\nsleep 1000\n",
		"by force":      "#!/bin/sh\ntrap '' TERM\necho $$\nwhile :; do sleep 1000; done\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := find(t, map[buildhooks.Name]string{buildhooks.Build: script})
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("stop")
			out := &onWrite{do: func() { cancel(stop) }}
			err := h.Run(ctx, buildhooks.Build, buildhooks.Process{}, buildhooks.Execution{
				Environ: []string{"PATH=" + os.Getenv("PATH")}, Output: out, Grace: 100 * time.Millisecond,
			})
			if !errors.Is(err, stop) {
				t.Errorf("stopped hook: got error %v, want %v", err, stop)
			}
			waitGone(t, string(out.got))
		})
	}
}

// The rest of a group has the grace time, even if its leader ended at once.
func TestGraceIsForTheWholeGroup(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "cleaned")
	h := find(t, map[buildhooks.Name]string{buildhooks.Build: fmt.Sprintf(
		"#!/bin/sh\nsh -c 'trap \": > %s; exit\" TERM; echo ready; while :; do sleep 0.01; done'\n:\n", mark)})
	ctx, cancel := context.WithCancel(t.Context())
	err := h.Run(ctx, buildhooks.Build, buildhooks.Process{}, buildhooks.Execution{
		Environ: []string{"PATH=" + os.Getenv("PATH")}, Output: &onWrite{do: cancel}, Grace: 10 * time.Second,
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled hook: got error %v, want %v", err, context.Canceled)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the group could not clean up: %v", err)
	}
}

// onWrite calls do at each write.
type onWrite struct {
	got []byte
	do  func()
}

func (w *onWrite) Write(b []byte) (int, error) {
	defer w.do()
	w.got = append(w.got, b...)
	return len(b), nil
}

// waitGone waits until a process is gone or a zombie. out starts with the process ID.
func waitGone(t *testing.T, out string) {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan(out, &pid); err != nil {
		t.Fatalf("no process number in %q: %v", out, err)
	}
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("process %d: got it running, want it ended", pid)
		case <-look.C:
		}
	}
}

func TestHooksThatNeedARegistryCredential(t *testing.T) {
	const script = "#!/bin/sh\n"
	for name, test := range map[string]struct {
		present []buildhooks.Name
		pushing string
		fault   string // of CheckPush; empty = none
	}{
		"none that pushes":      {[]buildhooks.Name{buildhooks.PreBuild, buildhooks.Test}, "", ""},
		"around the push":       {[]buildhooks.Name{buildhooks.PostPush, buildhooks.PrePush}, "hooks/pre_push, hooks/post_push", ""},
		"in place of the push":  {[]buildhooks.Name{buildhooks.Push}, "hooks/push", "hooks/push has to push"},
		"in place of the build": {[]buildhooks.Name{buildhooks.Build, buildhooks.PostPush}, "hooks/build, hooks/post_push", "hooks/build has to push the image"},
		"in place of both":      {[]buildhooks.Name{buildhooks.Build, buildhooks.Push}, "hooks/push", "hooks/push has to push"},
	} {
		t.Run(name, func(t *testing.T) {
			all := map[buildhooks.Name]string{}
			for _, hook := range test.present {
				all[hook] = script
			}
			h := find(t, all)
			if got := buildhooks.Files(h.Pushing()); got != test.pushing {
				t.Errorf("pushing hooks: got %q, want %q", got, test.pushing)
			}
			err := h.CheckPush()
			if (err != nil) != (test.fault != "") {
				t.Fatalf("check of the hooks: got error %v, want one: %t", err, test.fault != "")
			}
			if err != nil &&
				(!strings.Contains(err.Error(), test.fault) || !strings.Contains(err.Error(), "SLIPWAY_PUSH_HOOKS=on")) {
				t.Errorf("check of the hooks: got error %q, want %q and the setting in it", err, test.fault)
			}
		})
	}
}

// A hook may replace a later hook by a symbolic link. The runner must not change the link's target,
// because the hook may run as another user without access to it.
func TestALinkOutOfTheTreeStaysAsItIs(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := find(t, map[buildhooks.Name]string{
		buildhooks.PreBuild: "#!/bin/sh -e\nln -sf " + secret + " hooks/build\n",
		buildhooks.Build:    "#!/bin/sh\n",
	})
	if _, err := run(t, h, buildhooks.PreBuild); err != nil {
		t.Fatalf("first hook: %v", err)
	}
	if _, err := run(t, h, buildhooks.Build); err == nil {
		t.Error("second hook, a link out of the tree: got no error, want one")
	}
	info, err := os.Stat(secret)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode of the file outside: got %o, want 600", got)
	}
}
