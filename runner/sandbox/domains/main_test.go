package domains_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/urfave/cli/v3"

	"slipway/config/discard"
	"slipway/config/identity"
	"slipway/config/must"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/domains"
	"slipway/runner/sandbox/server"
)

// asSupervisor makes the test binary a supervisor with this directory. It starts the builder of domain
// a, prints a line, and waits.
const asSupervisor = "SLIPWAY_TEST_SUPERVISOR"

// TestMain makes the test binary behave like the slipway binary if it runs as a child.
func TestMain(m *testing.M) {
	if dir := os.Getenv(asSupervisor); dir != "" {
		o := options(dir, discard.Logger())
		if sandbox.Privileged() {
			o.DiskBytes = 64 << 20
		}
		s := domains.New(o)
		_, err := s.Address(context.Background(), "a")
		fmt.Fprintln(os.Stdout, err)
		select {}
	}
	if len(os.Args) < 2 || os.Args[1] != "builder" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	app := &cli.Command{
		Name:           "slipway",
		Commands:       []*cli.Command{server.Command()},
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	err := app.Run(ctx, os.Args)
	stop()
	if err == nil {
		os.Exit(0)
	}
	if err.Error() != "" {
		fmt.Fprintln(os.Stderr, "slipway:", err)
	}
	if coder, ok := err.(cli.ExitCoder); ok { //nolint:errorlint // as main does
		os.Exit(coder.ExitCode())
	}
	os.Exit(1)
}

func options(dir string, log logrus.FieldLogger) domains.Options {
	return domains.Options{
		Executable: "/proc/self/exe",
		Dir:        dir,
		Args:       []string{"--network", "none", "--cache-size", "1GB"},
		Environ:    []string{"PATH=" + os.Getenv("PATH")},
		Idle:       time.Minute,
		Log:        log,
	}
}

func needBuilder(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: starting a real builder in this test needs root, which is absent")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: a builder needs runc, which is absent (Debian: apt-get install runc)")
	}
}

func newSupervisor(t *testing.T, change func(*domains.Options)) (*domains.Supervisor, *logrustest.Hook) {
	t.Helper()
	log, hook := logrustest.NewNullLogger()
	o := options(shortDir(t), log)
	if change != nil {
		change(&o)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, e := range hook.AllEntries() {
			t.Logf("supervisor: %s %v", e.Message, e.Data)
		}
	})
	s := domains.New(o)
	t.Cleanup(s.Close)
	return s, hook
}

// shortDir returns a directory whose sockets have names that the kernel accepts.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "domains-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func address(t *testing.T, s *domains.Supervisor, domain string) string {
	t.Helper()
	a, err := s.Address(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func dial(t *testing.T, address string) *buildkit.Client {
	t.Helper()
	c, err := buildkit.Dial(t.Context(), address, identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ping(t *testing.T, address string) {
	t.Helper()
	_ = dial(t, address).Close()
}

// pidOf returns the process ID in the lock file of the state directory beside a socket.
func pidOf(t *testing.T, address string) int {
	t.Helper()
	dir := filepath.Dir(strings.TrimPrefix(address, "unix://"))
	text, err := os.ReadFile(filepath.Join(dir, "state", "builder.lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// waitForLog waits for a message that contains the text, count times.
func waitForLog(t *testing.T, hook *logrustest.Hook, text string, count int) {
	t.Helper()
	must.Eventually(t, "the log contains "+text, func() bool {
		found := 0
		for _, e := range hook.AllEntries() {
			if strings.Contains(e.Message, text) {
				found++
			}
		}
		return found >= count
	})
}

// script writes a shell script in place of the slipway binary.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slipway")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
