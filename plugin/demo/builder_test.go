package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"slipway/config/buildservice"
	"slipway/config/must"
	"slipway/plugin/demo/localenv"
)

// A user without the rights for builds gets a service of level full from sudo. Nothing of it stays.
func TestSudoStartsTheService(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a service needs root, which is absent")
	}
	programs := t.TempDir()
	must.Succeed(t, os.WriteFile(filepath.Join(programs, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755))
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	must.Succeed(t, os.Chmod(temporary, 0o755))
	var output bytes.Buffer
	socket, stop, err := startRootService(
		t.Context(), must.Get[string](t)(os.Executable()), "127.0.0.1:5000", &output,
	)
	must.Succeed(t, err)
	info, err := os.Stat(socket)
	must.Succeed(t, err)
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of the socket: got %o, want 600", mode)
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; int(got) != os.Getuid() { //nolint:forcetypeassert // of Linux
		t.Errorf("owner of the socket: got %d, want the caller", got)
	}
	level, err := buildservice.Client{Socket: socket}.Level(t.Context())
	if err != nil || level.Hooks == "" {
		t.Errorf("level: got %+v, error %v, want one", level, err)
	}
	stop()
	if strings.Contains(output.String(), "level=info") {
		t.Errorf("output: got\n%s, want no information of the service", output.String())
	}
	left := must.Get[[]os.DirEntry](t)(os.ReadDir(temporary))
	if len(left) != 0 {
		t.Errorf("files afterwards: got %v, want none", left)
	}
	for _, p := range must.Get[[]localenv.Process](t)(localenv.Processes()) {
		if strings.Contains(strings.Join(p.Args, " "), temporary) {
			t.Errorf("processes afterwards: got %s, want none", strconv.Itoa(p.ID))
		}
	}
}

// Without a password sudo ends, and the error names it.
func TestSudoThatEndsIsAnError(t *testing.T) {
	programs := t.TempDir()
	text := "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n"
	must.Succeed(t, os.WriteFile(filepath.Join(programs, "sudo"), []byte(text), 0o755))
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var output bytes.Buffer
	_, _, err := startRootService(t.Context(), "/bin/false", "127.0.0.1:5000", &output)
	if err == nil || !strings.Contains(err.Error(), "with sudo: it ended") {
		t.Errorf("got error %v, want that sudo ended", err)
	}
	if !strings.Contains(output.String(), "a password is required") {
		t.Errorf("output: got %q, want the message of sudo", output.String())
	}
	if left := must.Get[[]os.DirEntry](t)(os.ReadDir(temporary)); len(left) != 0 {
		t.Errorf("files afterwards: got %v, want none", left)
	}
}
