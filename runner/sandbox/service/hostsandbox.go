package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"slipway/config/buildservice"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/container"
	"slipway/runner/sandbox/network"
	"slipway/runner/sandbox/rootfs"
)

// closeTimeout bounds the removal of a sandbox.
const closeTimeout = 30 * time.Second

// A hostSandbox is a sandbox with its network and its group.
type hostSandbox struct {
	socket    *os.File
	network   *network.Namespace // nil = a loopback interface only
	container *container.Container
	sites     []buildservice.Site
	limits    func() string  // see Limit; nil = there are none
	undo      []func() error // undo functions of open, called in reverse order by Close
}

// open makes everything of a sandbox. The caller closes it, also after an error.
func (b *hostSandbox) open(ctx context.Context, s *HostSandboxes, host *container.Host, p Place) (err error) {
	b.sites = p.Sites
	o := container.Options{
		Disk:      p.Disk,
		Workspace: rootfs.Workspace{Dir: p.Workspace, Owner: p.UID, Group: p.group()},
		Files:     siteFiles(p),
	}
	if s.networkOff() == "" {
		if err := b.joinNetwork(ctx, s, &o); err != nil {
			return fmt.Errorf("make the network of the sandbox: %w", err)
		}
	}
	if err := b.limit(s.groups(), p.Attempt, &o); err != nil {
		return fmt.Errorf("limit the sandbox: %w", err)
	}
	if b.container, err = host.Start(ctx, o); err != nil {
		return err
	}
	b.socket, err = b.container.TakeSocket()
	return err
}

// joinNetwork makes a network with one namespace, and its resolver.
func (b *hostSandbox) joinNetwork(ctx context.Context, s *HostSandboxes, o *container.Options) error {
	router, err := network.NewRouter(ctx, network.Options{
		Filter: network.Filter{Policy: s.o.Policy}, Slirp: slirp(), Log: s.o.Log,
	})
	if err != nil {
		return err
	}
	b.undo = append(b.undo, router.Close)
	b.network, err = router.Join(ctx, "hooks")
	if err != nil {
		return err
	}
	o.Network = b.network.Path()
	resolver := "nameserver " + b.network.DNS().String() + "\n"
	o.Files = append(o.Files, rootfs.File{Path: "/etc/resolv.conf", Data: []byte(resolver)})
	return nil
}

// limit makes the group of the sandbox. Without groups only the number of processes is limited.
func (b *hostSandbox) limit(all groups, attempt string, o *container.Options) error {
	if all.owner == nil {
		o.Processes = int(all.limits.Processes)
		return nil
	}
	group, err := all.owner.Group.Group(attempt, all.limits)
	if err != nil {
		return err
	}
	b.undo = append(b.undo, func() error { return removeGroup(group) })
	o.Cgroup = group.Path()
	b.limits = func() string { return group.Counters().Reason(all.limits) }
	return nil
}

// Socket returns the connection to process 1.
func (b *hostSandbox) Socket() *os.File { return b.socket }

// Listen opens the listener of a site. After the call only the runner holds it, so it ends with the
// runner at the latest.
func (b *hostSandbox) Listen(ctx context.Context, site int) (*os.File, error) {
	switch {
	case site < 0 || site >= len(b.sites):
		return nil, fmt.Errorf("the sandbox has %d sites, and the request is for site %d", len(b.sites), site)
	case b.network == nil:
		return nil, fmt.Errorf("%w: the sandbox has no network", ErrOff)
	}
	listener, err := b.network.Listen(ctx, "tcp", b.sites[site].Address.String())
	if err != nil {
		return nil, fmt.Errorf("listen as %s in the sandbox: %w", b.sites[site].Host, err)
	}
	defer listener.Close()
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("the listener is a %T: only TCP listeners are supported", listener)
	}
	return tcp.File()
}

// Limit returns the limit that the sandbox met.
func (b *hostSandbox) Limit() string {
	if b.limits == nil {
		return ""
	}
	return b.limits()
}

// Close ends the sandbox, its network and its group.
func (b *hostSandbox) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if b.container != nil {
		errs = append(errs, b.container.Close(ctx))
	}
	for _, undo := range slices.Backward(b.undo) {
		errs = append(errs, undo())
	}
	return errors.Join(errs...)
}

func removeGroup(g cgroup.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return g.Remove(ctx)
}
