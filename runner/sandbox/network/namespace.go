package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"

	"slipway/runner/sandbox/netns"
)

// A Namespace is a network namespace on a router's bridge. Programs in it have no capability over it,
// unless they are root of this process's user namespace. It is safe for concurrent use.
type Namespace struct {
	name   string
	router *Router
	file   *os.File
	number int // number of its addresses

	mu     sync.Mutex
	open   []io.Closer // sockets of this process in the namespace
	closed bool

	work   sync.WaitGroup // forwards
	remove func() error   // removes the namespace at the first call; later calls wait for it
}

// memberLink is the name of the interface in a namespace.
const memberLink = "eth0"

// Join makes a namespace on the router's bridge. Other namespaces of the router resolve the name, for example
// "db", to its addresses. An empty name is not resolved.
func (r *Router) Join(ctx context.Context, name string) (_ *Namespace, err error) {
	n := &Namespace{name: name, router: r}
	n.remove = sync.OnceValue(n.removeOnce)
	if err := r.admit(n); err != nil {
		return nil, fmt.Errorf("join network: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("join network: %w", err), n.Close())
		}
	}()
	var inside links
	defer func() { inside.close() }()
	n.file, err = netns.New(func() error {
		if err := setSysctls(memberSysctls(r.versions)); err != nil {
			return err
		}
		netns.AllowPing()
		var err error
		if inside, err = openLinks(); err != nil {
			return err
		}
		return inside.up("lo")
	})
	if err != nil {
		return nil, err
	}
	if err := n.plug(ctx, inside); err != nil {
		return nil, err
	}
	return n, ctx.Err()
}

// plug connects the namespace to the bridge.
func (n *Namespace) plug(ctx context.Context, inside links) error {
	r := n.router
	err := r.links.addPair(pair{name: n.port(), master: r.bridge, mtu: r.mtu, peer: memberLink, peerIn: n.file})
	if err != nil {
		return err
	}
	for _, version := range r.versions {
		if err := inside.addAddress(memberLink, bridgeAddress(bridgeNetwork(version), n.number)); err != nil {
			return err
		}
	}
	if err := errors.Join(r.links.up(n.port()), inside.up(memberLink)); err != nil {
		return err
	}
	err = errors.Join(
		inside.awaitReady(ctx, memberLink, n.Addresses()...),
		r.links.awaitReady(ctx, n.port()),
		r.links.awaitReady(ctx, bridgeName, r.gateways()...), // its carrier is that of its first port
	)
	if err != nil {
		return err
	}
	for _, version := range r.versions {
		if err := inside.addDefaultRoute(memberLink, gateway(version)); err != nil {
			return err
		}
	}
	return nil
}

// port returns the name of the namespace's interface in the router.
func (n *Namespace) port() string { return fmt.Sprintf("port%d", n.number) }

// maxNumber is the last address number of bridgeNetwork4. The next address is the broadcast address.
const maxNumber = 1<<16 - 2

// admit gives the namespace an address number. Numbers are reused as late as possible, so that no
// neighbor has an old hardware address in its cache.
func (r *Router) admit(n *Namespace) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	used := map[int]bool{}
	for member := range r.members {
		if n.name != "" && member.name == n.name {
			return fmt.Errorf("the name %q is in use", n.name)
		}
		used[member.number] = true
	}
	if len(used) == maxNumber-gatewayNumber {
		return fmt.Errorf("the network is full: it has %d namespaces", len(used))
	}
	for {
		r.last++
		if r.last > maxNumber {
			r.last = gatewayNumber + 1
		}
		if !used[r.last] {
			n.number = r.last
			r.members[n] = struct{}{}
			return nil
		}
	}
}

// lookup returns the addresses of the namespace with a name.
func (r *Router) lookup(name string) []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	for member := range r.members {
		if name != "" && member.name == name {
			return member.Addresses()
		}
	}
	return nil
}

// Path returns a path of the namespace for other processes, for example "/proc/12/fd/7". It is valid until
// Close, and while this process runs.
func (n *Namespace) Path() string { return netns.Path(n.file) }

// Addresses returns the addresses of the namespace: the IPv4 address, and the IPv6 address if the
// machine has IPv6.
func (n *Namespace) Addresses() []netip.Addr {
	var addresses []netip.Addr
	for _, version := range n.router.versions {
		addresses = append(addresses, addressAt(bridgeNetwork(version), n.number))
	}
	return addresses
}

// DNS returns the address of the router's DNS forwarder.
func (n *Namespace) DNS() netip.Addr { return gateway(ipv4) }

// Do runs f in the namespace. Sockets that f opens and processes that it starts stay there. Goroutines
// that f starts do not run there. See package netns.
func (n *Namespace) Do(f func() error) error { return netns.Do(n.file, f) }

// Enter moves this thread to the namespace. Use it as process.Options.Setup, to start a process in the
// namespace that ends with this one.
func (n *Namespace) Enter() error { return netns.Enter(n.file) }

// Listen is like net.Listen with an IP address, but listens inside the namespace. The caller serves from its
// own namespace. Close closes the listener, too.
func (n *Namespace) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var listener net.Listener
	err := n.openSocket(func() (closer io.Closer, err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, network, address)
		return listener, err
	})
	return listener, err
}

// ListenPacket is like Listen, for datagrams.
func (n *Namespace) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var conn net.PacketConn
	err := n.openSocket(func() (closer io.Closer, err error) {
		conn, err = new(net.ListenConfig).ListenPacket(ctx, network, address)
		return conn, err
	})
	return conn, err
}

// openSocket opens a socket inside the namespace. Close closes the socket, because an open socket keeps
// the namespace.
func (n *Namespace) openSocket(open func() (io.Closer, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errClosed
	}
	return n.Do(func() error {
		socket, err := open()
		if err == nil {
			n.open = append(n.open, socket)
		}
		return err
	})
}

// Close removes the namespace from the bridge, and closes its listeners. The kernel removes the
// namespace when no process and no connection is left in it. Later calls return the result of the first
// one.
func (n *Namespace) Close() error { return n.remove() }

func (n *Namespace) removeOnce() error {
	n.mu.Lock()
	n.closed = true
	for _, socket := range n.open {
		_ = socket.Close() // the caller may have closed it
	}
	n.mu.Unlock()
	n.work.Wait()
	if n.file != nil {
		n.file.Close()
	}
	return n.router.release(n)
}

// release removes the namespace's interface from the router. If the router closes, the kernel removes
// all its interfaces, without a caller that waits for each.
func (r *Router) release(n *Namespace) error {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return nil
	}
	err := r.links.remove(n.port())
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.members, n) // only now may another namespace get its number
	return err
}
