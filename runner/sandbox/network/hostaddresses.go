package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/netns"
)

// An addressWatch reports changes of the host's addresses.
type addressWatch struct {
	socket  *nl.NetlinkSocket
	changed chan struct{}
}

// watchAddresses watches the addresses of this thread's network namespace.
func watchAddresses() (*addressWatch, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("watch this machine's addresses: %w", err)
	}
	return &addressWatch{socket: socket, changed: make(chan struct{}, 1)}, nil
}

// run reports changes until close is called.
func (w *addressWatch) run() {
	defer close(w.changed)
	for {
		_, _, err := w.socket.Receive()
		// ENOBUFS = messages were lost.
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default: // a change is waiting already
		}
	}
}

func (w *addressWatch) close() { w.socket.Close() }

// hostAddresses returns the addresses of the host that the filter must list.
func (r *Router) hostAddresses() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list this machine's interfaces: %w", err)
	}
	var all []netip.Addr
	for _, i := range interfaces {
		if strings.HasPrefix(i.Name, HostPrefix) {
			continue // the networks of uplinks are refused anyway
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // the interface was removed in the meantime
		}
		for _, address := range addresses {
			if prefix, err := netip.ParsePrefix(address.String()); err == nil {
				all = append(all, prefix.Addr())
			}
		}
	}
	return r.options.Filter.listed(all), nil
}

// reloadRetry is the time after which a failed change of the filter is tried again.
const reloadRetry = time.Second

// followHost keeps the host's addresses in the filter current until ctx ends. Until the new rules are
// loaded, a new address is reachable if this process is not root. As root, the host's own rules refuse
// it.
func (r *Router) followHost(ctx context.Context, w *addressWatch, now []netip.Addr) {
	r.work.Go(w.run)
	for {
		var retry <-chan time.Time
		if addresses, err := r.refuseAddresses(ctx, now); err == nil {
			now = addresses
		} else if ctx.Err() == nil {
			r.options.Log.WithError(err).Error("cannot refuse this machine's new addresses to a build: will retry")
			retry = time.After(reloadRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
		case _, ok := <-w.changed:
			if !ok {
				return
			}
		}
	}
}

// refuseAddresses returns the host's addresses. It changes the filter if they differ from now, the
// addresses in the filter.
func (r *Router) refuseAddresses(ctx context.Context, now []netip.Addr) ([]netip.Addr, error) {
	addresses, err := r.hostAddresses()
	if err != nil || slices.Equal(addresses, now) {
		return now, err
	}
	return addresses, netns.Do(r.file, func() error {
		for _, version := range r.versions {
			rules := r.options.Filter.hostRules(version, addresses)
			if err := restore(ctx, version, rules, "--noflush"); err != nil {
				return err
			}
		}
		return nil
	})
}

// uplinkNetworks returns the networks of uplinks, which no build can reach.
func (r *Router) uplinkNetworks() []netip.Prefix {
	networks := []netip.Prefix{uplinkNetwork4, uplinkNetwork6}
	if r.options.Slirp != "" {
		networks = append(networks, slirpNetwork6)
	}
	return networks
}
