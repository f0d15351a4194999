package embedded_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/embedded"
)

// Runners have a group in common, so a socket that the group may use must not be reachable by its path.
func TestARunnerReachesOnlyTheSocketOfItsDomain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: runners with a user of their own need root, which is absent")
	}
	const group = 64321
	dir, err := os.MkdirTemp("", "embedded-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"a", "b"} {
		listenIn(t, filepath.Join(dir, "builder", domain), group)
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, embedded.Options{
		// test -w asks the kernel as connect does: it needs the path and the write permission.
		Executable: script(t, `path=${SLIPWAY_BUILDER#unix://}
for socket in $path `+dir+`/builder/*/s `+dir+`/builder/a/s `+dir+`/builder/b/s `+dir+`/work/*/builder.sock
do test -S $socket && test -w $socket && echo $socket; done > `+out+`/$$.new
mv `+out+`/$$.new `+out+`/done; exec sleep 60`),
		WorkDir: filepath.Join(dir, "work"),
		Address: func(_ context.Context, domain string) (string, error) {
			return "unix://" + filepath.Join(dir, "builder", domain, "s"), nil
		},
		LinkSockets: true,
		FirstUID:    64321,
		FirstGID:    group,
		Grace:       50 * time.Millisecond,
	})
	for _, domain := range []string{"a", "b"} {
		p := autobuild.Pipeline{BuildID: domain, Attempt: 1, CacheDomain: domain}
		if _, err := e.Start(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		done := filepath.Join(out, "done")
		until(t, "list of sockets", func() bool { _, err := os.Stat(done); return err == nil })
		got, err := os.ReadFile(done)
		if err != nil {
			t.Fatal(err)
		}
		own := filepath.Join(dir, "work", domain+"-1", "builder.sock")
		if want := own + "\n"; string(got) != want {
			t.Errorf("sockets that the runner of domain %s can use: got %q, want %q", domain, got, want)
		}
		if !isSameFile(t, own, filepath.Join(dir, "builder", domain, "s")) {
			t.Errorf("the socket of the runner of domain %s is not that of its builder", domain)
		}
		if err := os.Remove(done); err != nil {
			t.Fatal(err)
		}
	}
}

// listenIn opens a socket for a group in a new directory that only root can enter.
func listenIn(t *testing.T, dir string, group int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	if err := os.Chown(path, -1, group); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
}

func isSameFile(t *testing.T, first, second string) bool {
	t.Helper()
	var a, b syscall.Stat_t
	if err := syscall.Stat(first, &a); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Stat(second, &b); err != nil {
		t.Fatal(err)
	}
	return a.Ino == b.Ino && a.Dev == b.Dev
}

func TestAMissingSocketIsUnavailable(t *testing.T) {
	e := newEngine(t, embedded.Options{Executable: "/bin/true", LinkSockets: true})
	_, err := e.Start(t.Context(), autobuild.Pipeline{BuildID: "b1", Attempt: 1})
	if err == nil || !strings.Contains(err.Error(), "link the builder's socket") {
		t.Errorf("got %v, want an error about the socket", err)
	}
}
