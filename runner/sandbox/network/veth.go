package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"
)

// prepareHost makes the host ready for uplinks, and sends the result.
func (r *Router) prepareHost(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if r.options.Slirp != "" {
		done <- nil
		return done
	}
	go func() { done <- r.ensureHost(ctx) }()
	return done
}

// ensureHost completes the host's rules and lets it forward packets. The rules stay when all routers are
// closed, because other processes may have routers. Without routers, the rules match nothing. ensureHost
// runs for each router, because a firewall's restart removes the rules.
func (r *Router) ensureHost(ctx context.Context) error {
	results := make(chan error)
	for _, version := range r.versions {
		go func() { results <- r.ensureHostRules(ctx, version) }()
	}
	var errs []error
	for range r.versions {
		errs = append(errs, <-results)
	}
	// Forwarding starts after the rules are there.
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return forwardOnHost(r.versions)
}

func (r *Router) ensureHostRules(ctx context.Context, version family) error {
	saved, err := save(ctx, version)
	if err != nil {
		return err
	}
	missing := missingHostRules(version, saved)
	if missing == "" {
		return nil
	}
	if err := restoreOnHost(ctx, version, missing); err != nil {
		return fmt.Errorf("add rules to this machine: %w", err)
	}
	if saved, err = save(ctx, version); err != nil {
		return err
	}
	if missing := missingHostRules(version, saved); missing != "" {
		return fmt.Errorf("add rules to this machine: %s does not list %q", program(version, "-save"), missing)
	}
	return nil
}

// connect connects the router to the host. No packet passes before filtered has returned without error.
func (r *Router) connect(ctx context.Context, host links, filtered func() error) (io.Closer, error) {
	if r.options.Slirp != "" {
		if err := filtered(); err != nil {
			return nil, err
		}
		return r.startSlirp(ctx)
	}
	uplink, err := r.addUplink(ctx, host, filtered)
	if err != nil {
		_ = filtered() // its processes end before the router is closed
		return nil, err
	}
	return uplink, nil
}

// A vethUplink is a pair of interfaces between the host and a router.
type vethUplink struct{ name string }

// Close removes the interface on the host, and with it the one in the router.
func (u vethUplink) Close() error {
	host, err := openLinks()
	if err != nil {
		return err
	}
	defer host.close()
	return host.remove(u.name)
}

// addUplink makes a pair of interfaces, and brings it up after filtered has returned. Its name on the host
// reserves its addresses.
func (r *Router) addUplink(ctx context.Context, host links, filtered func() error) (_ io.Closer, err error) {
	number, err := r.reserveUplink(host)
	if err != nil {
		return nil, err
	}
	u := vethUplink{name: uplinkLink(number)}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	if err := host.setAlias(u.name, ownerAlias()); err != nil {
		return nil, err
	}
	networks := []netip.Prefix{uplinkNetwork4}
	if hasIPv6(r.versions) && hostHasIPv6() {
		networks = append(networks, uplinkNetwork6)
		// The host sends no neighbor solicitations while it checks its link-local address.
		if err := setSysctls(map[string]string{"ipv6/conf/" + u.name + "/accept_dad": "0"}); err != nil {
			return nil, err
		}
	}
	var outside, inside []netip.Addr
	for _, network := range networks {
		outer, inner := uplinkAddresses(network, number)
		if err := errors.Join(host.addAddress(u.name, outer), r.links.addAddress(uplinkName, inner)); err != nil {
			return nil, err
		}
		outside = append(outside, outer.Addr())
		inside = append(inside, inner.Addr())
	}
	if err := filtered(); err != nil {
		return nil, err
	}
	err = errors.Join(
		host.up(u.name),
		r.links.up(uplinkName),
		host.awaitReady(ctx, u.name, outside...),
		r.links.awaitReady(ctx, uplinkName, inside...),
	)
	if err != nil {
		return nil, err
	}
	for _, gateway := range outside {
		if err := r.links.addDefaultRoute(uplinkName, gateway); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// uplinkTries bounds the search for an unused name. A few tries are enough, because a host has far fewer
// uplinks than names.
const uplinkTries = 100

func (r *Router) reserveUplink(host links) (number int, err error) {
	for range uplinkTries {
		number = rand.IntN(maxUplinks) //nolint:gosec // it is no secret
		err = host.addPair(pair{
			name:   uplinkLink(number),
			mtu:    r.mtu,
			peer:   uplinkName,
			peerIn: r.file,
		})
		if !errors.Is(err, unix.EEXIST) {
			return number, err
		}
	}
	return 0, err
}

// uplinkMTU returns the MTU of the router's interfaces.
func (r *Router) uplinkMTU(host links) (int, error) {
	if r.options.Slirp != "" {
		return defaultMTU, nil // slirp4netns makes connections of its own
	}
	return host.uplinkMTU()
}
