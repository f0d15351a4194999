package service_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/buildservice"
	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/runner/sandbox/service"
)

// An env is a service with a shell script in place of the runner.
type env struct {
	client buildservice.Client
	dir    string // that every user may write to
	state  string // directory of the service
}

// newEnv starts a service. The script runs in place of `slipway runner`; $OUT is a directory that it may
// write to.
func newEnv(t *testing.T, script string, change func(*service.Options)) env {
	t.Helper()
	dir := openDir(t)
	e := env{dir: dir, state: filepath.Join(dir, "state")}
	program := filepath.Join(dir, "slipway")
	text := "#!/bin/sh\nOUT=" + dir + "\n" + script + "\n"
	must.Succeed(t, os.WriteFile(program, []byte(text), 0o755))
	o := service.Options{
		Program:   program,
		Dir:       e.state,
		Builders:  builders{},
		Sandboxes: service.NoSandboxes{Why: "no sandbox in this test"},
		Grace:     50 * time.Millisecond,
		Log:       discard.Logger(),
	}
	if change != nil {
		change(&o)
	}
	s, err := service.New(o)
	must.Succeed(t, err)
	e.client.Socket = filepath.Join(dir, "service.sock")
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: e.client.Socket, Net: "unixpacket"})
	must.Succeed(t, err)
	must.Succeed(t, os.Chmod(e.client.Socket, 0o666))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return e
}

// openDir returns a temporary directory that every user may enter and write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir := must.Get[string](t)(os.MkdirTemp("/tmp", "slipway-service-"))
	t.Cleanup(func() { os.RemoveAll(dir) })
	must.Succeed(t, os.Chmod(dir, 0o777))
	return dir
}

func (e env) start(t *testing.T, name string) *buildservice.Attempt {
	t.Helper()
	a, err := e.client.Start(t.Context(), run(name))
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	return a
}

// read waits until a file of the script has content.
func (e env) read(t *testing.T, name string) string {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(filepath.Join(e.dir, name)); err == nil && len(data) > 0 {
			return string(data)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("file %s: got none in 20 s, want one", name)
		}
	}
}

func run(name string) buildservice.Run {
	return buildservice.Run{
		Attempt: name,
		Domain:  "domain of " + name,
		URL:     "http://gateway/builds/1",
		Token:   secret.New("hush"),
		Hooks:   true,
	}
}

// builders answer each connection with the name of the domain.
type builders struct{}

func (builders) Dial(_ context.Context, domain string) (net.Conn, error) {
	file, err := saying(domain)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return net.FileConn(file)
}

// saying returns a socket whose other end has sent a text and closed.
func saying(text string) (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	other := os.NewFile(uintptr(fds[0]), "other end")
	defer other.Close()
	_, err = other.WriteString(text)
	return os.NewFile(uintptr(fds[1]), "socket"), err
}
