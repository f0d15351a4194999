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
)

// slirpDNS is slirp4netns's own forwarder to the machine's resolver, which may listen on
// a loopback address that the namespace cannot see.
const slirpDNS = "10.0.2.3"

const slirpStart = 5 * time.Second

// slirpProvider gives each RUN step a network namespace with a user-mode network, which
// changes nothing on the machine. https://github.com/rootless-containers/slirp4netns
type slirpProvider struct {
	command string
	dir     string // of the namespaces' mount points
}

var _ network.Provider = (*slirpProvider)(nil)

// openSlirp returns a provider that has set up and removed one namespace.
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

// Close has nothing to do: each namespace is closed by its step.
func (p *slirpProvider) Close() error { return nil }

// New makes a namespace and starts its slirp4netns.
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

// slirpArgs forbids what would reach the machine's loopback.
func slirpArgs(path string) []string {
	return []string{"--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--netns-type=path", path, "tap0"}
}

type slirpNamespace struct {
	path    string
	process *exec.Cmd
}

var _ network.Namespace = (*slirpNamespace)(nil)

// start returns when slirp4netns says that the network is up.
func (n *slirpNamespace) start(ctx context.Context, command string) error {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start slirp4netns: %w", err)
	}
	defer func() { _ = ready.Close() }()
	cmd := exec.Command(command, slirpArgs(n.path)...) //nolint:gosec,noctx // the command was found by LookPath; Close ends it
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = theirs.Close()
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

// Sample measures nothing.
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

// newNetNS makes a network namespace and mounts it on path.
func newNetNS(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_ = file.Close()
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, its namespace with the mount
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		made <- unix.Mount(own, path, "", unix.MS_BIND, "")
	}()
	if err := <-made; err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}
