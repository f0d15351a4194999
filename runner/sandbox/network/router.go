// Package network makes the networks of builds. The programs of one attempt, or the builder of one trust
// domain, have network namespaces on the bridge of one Router. The router lets them reach the internet
// and each other, and refuses the host, other routers, metadata services and, by setting, private
// networks. It answers DNS queries with the host's resolvers.
//
// A router is a network namespace without a process: bridge, packet filter, NAT and an uplink to the
// host. As root the uplink is a pair of interfaces (veth). Without root it is slirp4netns.
package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"

	"github.com/sirupsen/logrus"

	"slipway/runner/sandbox/netns"
)

// Options describe a router.
type Options struct {
	Filter Filter
	// Slirp is the path of slirp4netns, for a process that is not root of the machine. If it is empty,
	// the uplink is a pair of interfaces, which needs root of the machine.
	Slirp string
	// ResolvConf is the file with the host's resolvers. It is read again when it changes. The default
	// is /etc/resolv.conf.
	ResolvConf string
	Log        logrus.FieldLogger
}

// A Router connects network namespaces. It is safe for concurrent use.
type Router struct {
	options  Options
	versions []family
	file     *os.File
	links    links
	bridge   int // index of the bridge
	mtu      int
	uplink   io.Closer

	cancel context.CancelFunc // ends background work
	work   sync.WaitGroup

	mu      sync.Mutex
	members map[*Namespace]struct{}
	last    int // number of the last address
	closed  bool
}

// gatewayNumber is the number of the gateway's address in the bridge networks.
const gatewayNumber = 1

var errClosed = errors.New("the network is closed")

// NewRouter makes a router. It ends with Close, or with this process: then the kernel removes it. ctx
// bounds the call alone.
func NewRouter(ctx context.Context, o Options) (_ *Router, err error) {
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	background, cancel := context.WithCancel(context.Background())
	r := &Router{
		options:  o,
		versions: ipVersions(),
		cancel:   cancel,
		members:  map[*Namespace]struct{}{},
		last:     gatewayNumber,
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make network: %w", err), r.Close())
		}
	}()
	host, err := openLinks()
	if err != nil {
		return nil, err
	}
	defer host.close()
	watched, err := watchAddresses()
	if err != nil {
		return nil, err
	}
	r.work.Go(func() { <-background.Done(); watched.close() })
	if r.mtu, err = r.uplinkMTU(host); err != nil {
		return nil, err
	}
	addresses, err := r.hostAddresses()
	if err != nil {
		return nil, err
	}
	hostReady := r.prepareHost(ctx)
	filterReady, err := r.makeNamespace(ctx, addresses)
	filtered := func() error { return errors.Join(filterReady(), <-hostReady) }
	if err != nil {
		return nil, errors.Join(err, filtered())
	}
	if r.uplink, err = r.connect(ctx, host, sync.OnceValue(filtered)); err != nil {
		return nil, err
	}
	r.work.Go(func() { r.followHost(background, watched, addresses) })
	if err := r.serveDNS(background); err != nil {
		return nil, err
	}
	return r, nil
}

// makeNamespace makes the router's namespace with its bridge, and starts to load the filter. It adds no
// uplink. filtered waits for the filter, also after an error.
func (r *Router) makeNamespace(ctx context.Context, host []netip.Addr) (filtered func() error, err error) {
	filtered = func() error { return nil }
	r.file, err = netns.New(func() error {
		if err := setSysctls(routerSysctls(r.versions)); err != nil {
			return err
		}
		filtered = r.loadFilter(ctx, host)
		return r.makeBridge()
	})
	return filtered, err
}

// loadFilter starts to load the packet filter in this thread's namespace. The caller must call wait.
func (r *Router) loadFilter(ctx context.Context, host []netip.Addr) (wait func() error) {
	var running []*loading
	var errs []error
	for _, version := range r.versions {
		rules := r.options.Filter.routerRules(version, gateway(version), r.uplinkNetworks(), host)
		l, err := startRestore(ctx, version, rules)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		running = append(running, l)
	}
	return func() error {
		for _, l := range running {
			errs = append(errs, l.wait())
		}
		return errors.Join(errs...)
	}
}

// makeBridge makes the bridge in this thread's namespace.
func (r *Router) makeBridge() (err error) {
	if r.links, err = openLinks(); err != nil {
		return err
	}
	if r.bridge, err = r.links.addBridge(bridgeName, r.mtu); err != nil {
		return err
	}
	for _, version := range r.versions {
		if err := r.links.addAddress(bridgeName, bridgeAddress(bridgeNetwork(version), gatewayNumber)); err != nil {
			return err
		}
	}
	return errors.Join(r.links.up("lo"), r.links.up(bridgeName))
}

func bridgeNetwork(version family) netip.Prefix {
	if version == ipv6 {
		return bridgeNetwork6
	}
	return bridgeNetwork4
}

func gateway(version family) netip.Addr { return addressAt(bridgeNetwork(version), gatewayNumber) }

// gateways returns the router's addresses on the bridge.
func (r *Router) gateways() []netip.Addr {
	var all []netip.Addr
	for _, version := range r.versions {
		all = append(all, gateway(version))
	}
	return all
}

// Close closes all namespaces of the router, and removes it. Processes and open connections in its
// namespaces lose their network.
func (r *Router) Close() error {
	r.mu.Lock()
	r.closed = true
	members := r.members
	r.members = nil
	r.mu.Unlock()
	var errs []error
	for member := range members {
		errs = append(errs, member.Close())
	}
	r.cancel()
	r.work.Wait()
	if r.uplink != nil {
		errs = append(errs, r.uplink.Close())
		r.uplink = nil
	}
	r.links.close()
	if r.file != nil {
		r.file.Close()
	}
	return errors.Join(errs...)
}
