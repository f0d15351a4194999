package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	containerdoci "github.com/containerd/containerd/v2/pkg/oci"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/netns"
)

// slirpDNS is the address of slirp4netns's forwarder to the machine's resolver. The resolver itself may
// listen on a loopback address, which a namespace cannot reach.
const slirpDNS = "10.0.2.3"

// slirpStart is the time limit for the start of slirp4netns.
const slirpStart = 5 * time.Second

// slirpProvider gives each RUN step a network namespace with a user-mode network. It changes nothing
// on the machine. https://github.com/rootless-containers/slirp4netns
type slirpProvider struct {
	command string // path of slirp4netns
	dir     string // directory of the namespaces' mount points
}

var _ network.Provider = (*slirpProvider)(nil)

// openSlirp returns a provider. To check that it works, it sets up and removes one namespace.
func openSlirp(state, command string) (network.Provider, error) {
	p := &slirpProvider{command: command, dir: filepath.Join(state, "net", "slirp")}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of network namespaces: %w", err)
	}
	first, err := p.New(context.Background(), "", network.NamespaceOptions{})
	if err != nil {
		return nil, err
	}
	return p, first.Close()
}

// Close does nothing, because each step closes its namespace.
func (p *slirpProvider) Close() error { return nil }

// New creates a namespace and starts slirp4netns for it.
func (p *slirpProvider) New(ctx context.Context, _ string, _ network.NamespaceOptions) (network.Namespace, error) {
	path := filepath.Join(p.dir, identity.NewID())
	if err := newNetNS(path); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	ns := &slirpNamespace{path: path}
	if err := ns.start(ctx, p.command); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// slirpArgs returns the arguments of slirp4netns. They disable access to the machine's loopback
// addresses.
func slirpArgs(path string) []string {
	return []string{
		"--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--netns-type=path", path, "tap0",
	}
}

type slirpNamespace struct {
	path    string
	process *exec.Cmd
}

var _ network.Namespace = (*slirpNamespace)(nil)

// start starts slirp4netns and waits until it reports that the network is up.
func (n *slirpNamespace) start(ctx context.Context, command string) error {
	ready, childEnd, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start slirp4netns: %w", err)
	}
	defer func() { _ = ready.Close() }()
	cmd := exec.Command(command, slirpArgs(n.path)...) //nolint:gosec,noctx // LookPath found the command; Close ends it
	cmd.ExtraFiles = []*os.File{childEnd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = childEnd.Close()
	if err != nil {
		return fmt.Errorf("start slirp4netns: %w", err)
	}
	n.process = cmd
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = ready.SetReadDeadline(time.Now().Add(slirpStart))
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("slirp4netns did not bring up the network: %w", err)
	}
	return nil
}

// Set puts a container into the namespace.
func (n *slirpNamespace) Set(s *specs.Spec) error {
	join := specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: n.path}
	return containerdoci.WithLinuxNamespace(join)(context.Background(), nil, nil, s)
}

// Sample returns no measurement.
func (n *slirpNamespace) Sample() (*resourcestypes.NetworkSample, error) { return nil, nil }

// Close stops slirp4netns and removes the namespace.
func (n *slirpNamespace) Close() error {
	if n.process != nil {
		_ = n.process.Process.Kill()
		_ = n.process.Wait()
	}
	if err := unix.Unmount(n.path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return os.Remove(n.path)
}

// newNetNS creates a network namespace and mounts it on path.
func newNetNS(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_ = file.Close()
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine; the mount keeps the namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		netns.AllowPing()
		own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		made <- unix.Mount(own, path, "", unix.MS_BIND, "")
	}()
	if err := <-made; err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}
