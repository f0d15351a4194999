package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// links are the interfaces, addresses and routes of the network namespace in which openLinks was called.
// Its methods work from any thread.
type links struct{ handle *netlink.Handle }

// openLinks opens the interfaces of this thread's network namespace. The caller must close them: the
// socket keeps the namespace.
func openLinks() (links, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return links{}, fmt.Errorf("open netlink socket: %w", err)
	}
	return links{handle}, nil
}

func (l links) close() {
	if l.handle != nil {
		l.handle.Close()
	}
}

// up brings an interface up.
func (l links) up(name string) error {
	link, err := l.handle.LinkByName(name)
	if err == nil {
		err = l.handle.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	return nil
}

const (
	readyTimeout = 5 * time.Second
	readyPoll    = time.Millisecond
)

// awaitReady waits until an interface that is up can be used with its addresses. An interface drops
// packets until the kernel has detected its carrier. Until then, an IPv6 address has no route either. A
// lost packet costs a second, because ARP, neighbor discovery and TCP try again after that.
func (l links) awaitReady(ctx context.Context, name string, addresses ...netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		ready, err := l.isReady(name, addresses)
		if ready {
			return nil
		}
		if err == nil {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(readyPoll):
				continue
			}
		}
		return fmt.Errorf("wait for interface %s: %w", name, err)
	}
}

func (l links) isReady(name string, addresses []netip.Addr) (bool, error) {
	link, err := l.handle.LinkByName(name)
	if err != nil || link.Attrs().OperState != netlink.OperUp {
		return false, err
	}
	for _, address := range addresses {
		routes, err := l.handle.RouteGet(address.AsSlice())
		if err != nil || len(routes) != 1 || routes[0].Type != unix.RTN_LOCAL {
			return false, nil //nolint:nilerr // there is no route yet
		}
	}
	return true, nil
}

// addBridge makes a bridge and returns its index. Its hardware address stays the same when interfaces
// join, so that no neighbor caches an old one.
func (l links) addBridge(name string, mtu int) (index int, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.MTU = mtu
	attrs.HardwareAddr = net.HardwareAddr{0x02, 's', 'l', 'w', 'n', 1} // 02 = locally administered
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := l.handle.LinkAdd(bridge); err != nil {
		return 0, fmt.Errorf("make bridge: %w", err)
	}
	return bridge.Index, nil
}

// A pair describes two connected interfaces (veth).
type pair struct {
	name   string
	master int // index of the bridge that name joins; 0 = none
	mtu    int
	peer   string
	peerIn *os.File // network namespace of peer
}

// addPair makes two connected interfaces. The kernel removes both with either of their namespaces. The
// error wraps unix.EEXIST if the name is in use.
func (l links) addPair(p pair) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = p.name
	attrs.MTU = p.mtu
	attrs.MasterIndex = p.master
	veth := &netlink.Veth{
		LinkAttrs:     attrs,
		PeerName:      p.peer,
		PeerMTU:       uint32(p.mtu), //nolint:gosec // it is at most 65521
		PeerNamespace: netlink.NsFd(p.peerIn.Fd()),
	}
	if err := l.handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("make interfaces %s and %s: %w", p.name, p.peer, err)
	}
	return nil
}

// setAlias gives an interface a text. The kernel ignores it when it makes an interface.
func (l links) setAlias(name, alias string) error {
	link, err := l.handle.LinkByName(name)
	if err == nil {
		err = l.handle.LinkSetAlias(link, alias)
	}
	if err != nil {
		return fmt.Errorf("set alias of %s: %w", name, err)
	}
	return nil
}

// remove removes an interface. It returns no error if the interface does not exist.
func (l links) remove(name string) error {
	link, err := l.handle.LinkByName(name)
	if _, absent := err.(netlink.LinkNotFoundError); absent { //nolint:errorlint // it is never wrapped
		return nil
	}
	if err == nil {
		err = l.handle.LinkDel(link)
	}
	if errors.Is(err, unix.ENODEV) {
		return nil // the kernel has just removed it with its peer
	}
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

// addAddress gives an interface an address, which is in use at once: no other one has it, so there is
// no duplicate address detection.
func (l links) addAddress(name string, address netip.Prefix) error {
	link, err := l.handle.LinkByName(name)
	if err == nil {
		err = l.handle.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address), Flags: unix.IFA_F_NODAD})
	}
	if err != nil {
		return fmt.Errorf("add address %s to %s: %w", address, name, err)
	}
	return nil
}

// addDefaultRoute adds a route to all addresses of the gateway's IP version.
func (l links) addDefaultRoute(name string, gateway netip.Addr) error {
	link, err := l.handle.LinkByName(name)
	if err == nil {
		err = l.handle.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()})
	}
	if err != nil {
		return fmt.Errorf("add default route by %s: %w", gateway, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

const (
	defaultMTU = 1500
	minMTU     = 1280 // smallest MTU of IPv6
	maxMTU     = 65521
)

// uplinkMTU returns the smallest MTU of the interfaces with a default route. With a larger MTU, packets
// are lost if a firewall drops the ICMP messages about their size.
func (l links) uplinkMTU() (int, error) {
	routes, err := l.handle.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return 0, fmt.Errorf("list routes: %w", err)
	}
	mtu := maxMTU + 1
	for _, route := range routes {
		if route.Dst != nil && !isDefault(route.Dst) {
			continue
		}
		if link, err := l.handle.LinkByIndex(route.LinkIndex); err == nil {
			mtu = min(mtu, link.Attrs().MTU)
		}
	}
	if mtu > maxMTU {
		return defaultMTU, nil
	}
	return max(mtu, minMTU), nil
}

func isDefault(network *net.IPNet) bool {
	ones, _ := network.Mask.Size()
	return ones == 0
}
