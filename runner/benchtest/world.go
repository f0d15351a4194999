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

	"slipway/config/loopback"
	"slipway/config/process"
)

// startTime is the time limit for the start of a server.
const startTime = time.Minute

// An env is a registry with base images, and a directory for the builds.
type env struct {
	tools    tools
	dir      string // directory of this run, on a separate disk
	disk     string // description of that disk
	registry string // host:port
	stop     []func()
}

// openEnv mounts the disk, starts the registry and pushes the base images. With here, it uses the file
// system of the work directory instead of a disk.
func openEnv(ctx context.Context, work string, here bool, t tools) (*env, error) {
	dir, err := os.MkdirTemp(work, "run-")
	if err != nil {
		return nil, err
	}
	on := disk{about: work, unmount: func() {}}
	if !here {
		on = mountDisk(ctx, dir)
	}
	e := &env{tools: t, dir: dir, disk: on.about}
	e.stop = append(e.stop, func() { _ = os.RemoveAll(dir) }, on.unmount)
	if err := errors.Join(os.Mkdir(e.temporary(), 0o700), e.startRegistry(ctx), e.seed(ctx)); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// temporary returns the directory for temporary files, which include the caches of the steps' own
// builders.
func (e *env) temporary() string { return filepath.Join(e.dir, "tmp") }

func (e *env) close() {
	for i := len(e.stop) - 1; i >= 0; i-- {
		e.stop[i]()
	}
}

// startRegistry starts a registry that stores its content in files.
// https://distribution.github.io/distribution/about/configuration/
func (e *env) startRegistry(ctx context.Context) error {
	var err error
	if e.registry, err = loopback.FreeAddress(ctx); err != nil {
		return err
	}
	config := "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n" +
		"storage:\n  filesystem: {rootdirectory: " + filepath.Join(e.dir, "registry") + "}\n  delete: {enabled: true}\n" +
		"http: {addr: " + e.registry + "}\n"
	if err := write(e.dir, map[string]string{"registry.yml": config}); err != nil {
		return err
	}
	server, err := e.serve(ctx, "tcp", e.registry, e.tools.registry, "serve", filepath.Join(e.dir, "registry.yml"))
	if err != nil {
		return err
	}
	e.stop = append(e.stop, server.stop)
	return nil
}

// A server is a process that accepts connections on an address.
type server struct {
	process *process.Process
	dir     string // removed by stop; may be empty
}

// serve starts a program and waits until it accepts connections. It polls every 2 ms, because a longer
// pause would be part of the measured time.
func (e *env) serve(ctx context.Context, network, address, name string, args ...string) (*server, error) {
	cmd := exec.Command(name, args...) //nolint:noctx // stop ends it
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	child, err := process.Start(cmd, process.Options{Death: syscall.SIGTERM})
	if err != nil {
		return nil, err
	}
	s := &server{process: child}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			_ = conn.Close()
			return s, nil
		}
		select {
		case <-child.Ended():
			return nil, fmt.Errorf("%s ended: %w\n%s", filepath.Base(name), child.Wait(), &out)
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

// daemon starts a buildkitd with a state directory.
func (e *env) daemon(ctx context.Context, state, socket string) (*server, error) {
	return e.serve(
		ctx,
		"unix",
		socket,
		e.tools.buildkitd,
		"--root",
		state,
		"--addr",
		"unix://"+socket,
		"--oci-worker-net",
		"host",
		"--containerd-worker=false",
		"--oci-worker-gc=false",
	)
}

// builder starts a `slipway builder` with a state directory.
func (e *env) builder(ctx context.Context, state, socket string) (*server, error) {
	return e.serve(
		ctx,
		"unix",
		socket,
		e.tools.slipway,
		"builder",
		"--state",
		state,
		"--address",
		"unix://"+socket,
		"--network",
		"none",
	)
}

// timed runs a command and returns its run time. The error contains the command's output.
func (e *env) timed(ctx context.Context, environ []string, name string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "TMPDIR=" + e.temporary()}, environ...)
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
