package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	if guest.Requested(os.Args) {
		os.Exit(guest.Main())
	}
	os.Exit(sandboxtest.Main(m))
}

// start starts process 1 in a PID namespace, with the files of this machine.
func start(t testing.TB) *guest.Client {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	cmd := exec.Command("/proc/self/exe", guest.Argument)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs}, os.Stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: ids,
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: the test needs user namespaces: %v", err)
	}
	theirs.Close()
	client, err := guest.NewClient(os.NewFile(uintptr(pair[0]), "client"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("process 1: got %v, want that it ends with the socket", err)
		}
	})
	if err := client.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client
}

func env() []string { return []string{"PATH=/usr/bin:/bin"} }

// run runs a shell command and returns its output.
func run(t *testing.T, c *guest.Client, script string) (output string, s guest.Status, err error) {
	t.Helper()
	var out bytes.Buffer
	s, err = c.Run(t.Context(), guest.Command{Args: []string{"sh", "-c", script}, Env: env(), Output: &out})
	return out.String(), s, err
}

func TestCommands(t *testing.T) {
	c := start(t)
	for name, tc := range map[string]struct {
		cmd    guest.Command
		status guest.Status
		text   string
		err    error
	}{
		"success":   {guest.Command{Args: []string{"/bin/echo", "hi"}}, guest.Status{}, "hi\n", nil},
		"exit code": {guest.Command{Args: []string{"/bin/sh", "-c", "exit 3"}}, guest.Status{Code: 3}, "", nil},
		"signal": {
			guest.Command{Args: []string{"/bin/sh", "-c", "kill -9 $$"}},
			guest.Status{Code: -1, Signal: syscall.SIGKILL}, "", nil,
		},
		"both pipes":  {guest.Command{Args: []string{"/bin/sh", "-c", "echo a; echo b >&2"}}, guest.Status{}, "a\nb\n", nil},
		"environment": {guest.Command{Args: []string{"/usr/bin/env"}, Env: []string{"A=b"}}, guest.Status{}, "A=b\n", nil},
		"directory":   {guest.Command{Args: []string{"/bin/pwd"}, Dir: "/usr/bin"}, guest.Status{}, "/usr/bin\n", nil},
		"search path": {guest.Command{Args: []string{"echo", "x"}, Env: env()}, guest.Status{}, "x\n", nil},
		"no input":    {guest.Command{Args: []string{"/bin/cat"}}, guest.Status{}, "", nil},
		"no program":  {guest.Command{Args: []string{"absent"}, Env: env()}, guest.Status{Code: -1}, "", syscall.ENOENT},
		"no file":     {guest.Command{Args: []string{"/absent"}}, guest.Status{Code: -1}, "", syscall.ENOENT},
		"no program file": {
			guest.Command{Args: []string{"/usr"}}, guest.Status{Code: -1}, "", syscall.EACCES,
		},
		"no directory": {
			guest.Command{Args: []string{"/bin/true"}, Dir: "/absent"}, guest.Status{Code: -1}, "", syscall.ENOENT,
		},
	} {
		var out bytes.Buffer
		tc.cmd.Output = &out
		status, err := c.Run(t.Context(), tc.cmd)
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: got error %v, want %v", name, err, tc.err)
		}
		if status != tc.status {
			t.Errorf("%s: got %v, want %v", name, status, tc.status)
		}
		if out.String() != tc.text {
			t.Errorf("%s: got output %q, want %q", name, out.String(), tc.text)
		}
	}
}

func TestNothingOfACommandOutlivesIt(t *testing.T) {
	c := start(t)
	began := time.Now()
	// The background processes hold the output open, and one is a daemon in its own session.
	out, status, err := run(t, c, `sleep 1000 & (setsid sh -c 'trap "" TERM HUP; sleep 1000' &) ; echo started`)
	if err != nil || status.Code != 0 || out != "started\n" {
		t.Errorf("got %q, %v and %v, want the command to end", out, status, err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("got an end after %v, want it at once", took)
	}
	// Process 1 and kill itself are all that kill could reach.
	if out, _, err := run(t, c, `kill -0 -1 && echo others`); err != nil || strings.Contains(out, "others") {
		t.Errorf("got %q and %v, want no process left", out, err)
	}
}

func TestACanceledCommandCanCleanUp(t *testing.T) {
	c := start(t)
	cause := errors.New("canceled by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	output := &notifier{want: "ready\n", then: func() { cancel(cause) }}
	_, err := c.Run(ctx, guest.Command{
		Args:   []string{"sh", "-c", `trap "echo cleaned; exit 0" TERM; echo ready; sleep 1000 & wait`},
		Env:    env(),
		Output: output,
		Grace:  time.Minute,
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	if got := output.String(); got != "ready\ncleaned\n" {
		t.Errorf("got output %q, want that of the trap", got)
	}
	if _, status, err := run(t, c, "exit 4"); err != nil || status.Code != 4 {
		t.Errorf("the next command: got %v and %v, want exit code 4", status, err)
	}
}

func TestACommandThatIgnoresSIGTERMIsKilled(t *testing.T) {
	c := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	output := &notifier{want: "ready\n", then: cancel}
	_, err := c.Run(ctx, guest.Command{
		Args:   []string{"sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1000; done`},
		Env:    env(),
		Output: output,
		Grace:  50 * time.Millisecond,
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if _, status, err := run(t, c, "exit 4"); err != nil || status.Code != 4 {
		t.Errorf("the next command: got %v and %v, want exit code 4", status, err)
	}
	if _, err := c.Run(ctx, guest.Command{Args: []string{"/bin/true"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a command after the end of the context: got %v, want %v", err, context.Canceled)
	}
}

func TestOutputIsComplete(t *testing.T) {
	c := start(t)
	out, _, err := run(t, c, `head -c 3000000 /dev/zero; echo end`)
	if err != nil || len(out) != 3000004 || !strings.HasSuffix(out, "end\n") {
		t.Errorf("got %d bytes and %v, want 3000004", len(out), err)
	}
	refusing := &notifier{err: errors.New("full")}
	status, err := c.Run(t.Context(), guest.Command{
		Args:   []string{"sh", "-c", "head -c 300000 /dev/zero; exit 5"},
		Env:    env(),
		Output: refusing,
	})
	if err != nil || status.Code != 5 {
		t.Errorf("an output that fails: got %v and %v, want exit code 5", status, err)
	}
	if refusing.calls != 1 {
		t.Errorf("an output that fails: got %d calls, want 1", refusing.calls)
	}
}

func TestSignalsOfCommandsDoNotReachProcessOne(t *testing.T) {
	c := start(t)
	for signal := 1; signal <= 64; signal++ {
		// Some numbers are reserved by libc, and kill refuses them.
		if _, _, err := run(t, c, fmt.Sprintf("kill -%d 1; true", signal)); err != nil {
			t.Fatalf("signal %d: got %v, want process 1 to go on", signal, err)
		}
	}
}

func TestCommandsInheritNoDescriptor(t *testing.T) {
	c := start(t)
	const script = `for fd in $(ls /proc/self/fd); do test $fd -gt 3 && echo $fd; done; ls -l /proc/self/fd/0`
	out, _, err := run(t, c, script)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(out), "-> /dev/null") || strings.Count(out, "\n") != 1 {
		t.Errorf("got %q and %v, want no descriptor above that of ls", out, err)
	}
}

func TestARequestIsBounded(t *testing.T) {
	c := start(t)
	large := guest.Command{Args: []string{"/bin/true", strings.Repeat("x", 5<<20)}}
	if _, err := c.Run(t.Context(), large); err == nil || !strings.Contains(err.Error(), "more than 4194304 bytes") {
		t.Errorf("got %v, want an error about the size", err)
	}
	if _, err := c.Run(t.Context(), guest.Command{}); err == nil {
		t.Error("no arguments: got no error, want one")
	}
	if _, status, err := run(t, c, "exit 4"); err != nil || status.Code != 4 {
		t.Errorf("the next command: got %v and %v, want exit code 4", status, err)
	}
}

func BenchmarkRun(b *testing.B) {
	c := start(b)
	for b.Loop() {
		if _, err := c.Run(b.Context(), guest.Command{Args: []string{"/bin/true"}}); err != nil {
			b.Fatal(err)
		}
	}
}

// A notifier calls a function when the output so far equals a text.
type notifier struct {
	bytes.Buffer
	want  string
	then  func()
	err   error
	calls int
}

func (n *notifier) Write(p []byte) (int, error) {
	n.calls++
	if n.err != nil {
		return 0, n.err
	}
	_, _ = n.Buffer.Write(p)
	if n.then != nil && n.String() == n.want {
		n.then()
	}
	return len(p), nil
}
