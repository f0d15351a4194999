package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"slipway/config/child"
)

// startTime bounds how long a server may take to answer.
const startTime = time.Minute

// A world is a registry with base images, and a place for what is built.
type world struct {
	tools    tools
	dir      string // of this run alone, on a disk of its own
	disk     string // what that is
	registry string // host:port
	stop     []func()
}

// openWorld makes one. Here: on the file system of the work directory.
func openWorld(ctx context.Context, work string, here bool, t tools) (*world, error) {
	dir, err := os.MkdirTemp(work, "run-")
	if err != nil {
		return nil, err
	}
	on := disk{about: work, unmount: func() {}}
	if !here {
		on = mountDisk(ctx, dir)
	}
	w := &world{tools: t, dir: dir, disk: on.about}
	w.stop = append(w.stop, func() { _ = os.RemoveAll(dir) }, on.unmount)
	if err := errors.Join(os.Mkdir(w.temporary(), 0o700), w.startRegistry(ctx), w.seed(ctx)); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// temporary is the directory for temporary files, as steps' own builders have their caches in.
func (w *world) temporary() string { return filepath.Join(w.dir, "tmp") }

func (w *world) close() {
	for i := len(w.stop) - 1; i >= 0; i-- {
		w.stop[i]()
	}
}

// startRegistry serves https://distribution.github.io/distribution/about/configuration/ on files.
func (w *world) startRegistry(ctx context.Context) error {
	free, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // to find a port
	if err != nil {
		return err
	}
	w.registry = free.Addr().String()
	_ = free.Close()
	config := "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n" +
		"storage:\n  filesystem: {rootdirectory: " + filepath.Join(w.dir, "registry") + "}\n  delete: {enabled: true}\n" +
		"http: {addr: " + w.registry + "}\n"
	if err := write(w.dir, map[string]string{"registry.yml": config}); err != nil {
		return err
	}
	server, err := w.serve(ctx, "tcp", w.registry, w.tools.registry, "serve", filepath.Join(w.dir, "registry.yml"))
	if err != nil {
		return err
	}
	w.stop = append(w.stop, server.stop)
	return nil
}

// A server is a process that answers on an address.
type server struct {
	process *child.Child
	dir     string // goes with it; may be empty
}

// serve starts a program and waits, without a pause that would be in a figure, until it answers.
func (w *world) serve(ctx context.Context, network, address, name string, args ...string) (*server, error) {
	cmd := exec.Command(name, args...) //nolint:noctx // stop ends it
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	process, err := child.Start(cmd, child.Options{Death: syscall.SIGTERM})
	if err != nil {
		return nil, err
	}
	s := &server{process: process}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial(network, address); err == nil { //nolint:noctx // it answers or refuses at once
			_ = conn.Close()
			return s, nil
		}
		select {
		case <-process.Ended():
			return nil, fmt.Errorf("%s ended: %w\n%s", filepath.Base(name), process.Err(), &out)
		case <-ctx.Done():
			s.stop()
			return nil, fmt.Errorf("%s does not answer: %w", filepath.Base(name), ctx.Err())
		case <-tick.C:
		}
	}
}

func (s *server) stop() {
	s.process.Stop(20 * time.Second)
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// daemon starts a buildkitd on a state.
func (w *world) daemon(ctx context.Context, state, socket string) (*server, error) {
	return w.serve(ctx, "unix", socket, w.tools.buildkitd, "--root", state, "--addr", "unix://"+socket, "--oci-worker-net", "host",
		"--containerd-worker=false", "--oci-worker-gc=false")
}

// builder starts a `slipway builder` on a state.
func (w *world) builder(ctx context.Context, state, socket string) (*server, error) {
	return w.serve(ctx, "unix", socket, w.tools.slipway, "builder", "--state", state, "--address", "unix://"+socket, "--network", "none")
}

// timed runs a command and returns how long it took, and what it said if it failed.
func (w *world) timed(ctx context.Context, environ []string, name string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "TMPDIR=" + w.temporary()}, environ...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := time.Now()
	err := cmd.Run()
	took := time.Since(started)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, &out)
	}
	return took, nil
}
