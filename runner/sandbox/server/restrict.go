package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"

	"slipway/runner/sandbox/netns"
)

// restrictedProvider gives RUN steps a network without raw sockets. BuildKit calls Set of a namespace after
// it has made the rest of the container's configuration, so this is the place to change it.
type restrictedProvider struct {
	network.Provider
	prepare func(path string) error // called with each namespace before its use; nil = nothing to do
}

var _ network.Provider = restrictedProvider{}

// New implements network.Provider.
func (p restrictedProvider) New(ctx context.Context, hostname string,
	o network.NamespaceOptions) (network.Namespace, error) {
	namespace, err := p.Provider.New(ctx, hostname, o)
	if err != nil {
		return nil, err
	}
	return restrictedNamespace{namespace, p.prepare}, nil
}

type restrictedNamespace struct {
	network.Namespace
	prepare func(path string) error
}

// Set implements network.Namespace.
func (n restrictedNamespace) Set(s *specs.Spec) error {
	if err := n.Namespace.Set(s); err != nil {
		return err
	}
	dropRawSockets(s)
	if n.prepare == nil {
		return nil
	}
	return n.prepare(networkPath(s))
}

// dropRawSockets removes the capability for raw sockets. With raw sockets, a step could send packets
// under other addresses, and read other steps' packets.
func dropRawSockets(s *specs.Spec) {
	if s.Process == nil || s.Process.Capabilities == nil {
		return
	}
	c := s.Process.Capabilities
	for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Inheritable, &c.Permitted, &c.Ambient} {
		*set = slices.DeleteFunc(slices.Clone(*set), func(name string) bool { return name == "CAP_NET_RAW" })
	}
}

// networkPath returns the path of the container's network namespace, or "".
func networkPath(s *specs.Spec) string {
	if s.Linux == nil {
		return ""
	}
	for _, namespace := range s.Linux.Namespaces {
		if namespace.Type == specs.NetworkNamespace {
			return namespace.Path
		}
	}
	return ""
}

// isolateSteps isolates the bridge's port of a namespace: it exchanges packets with the bridge alone, and
// not with other isolated ports. The CNI plugin does that only from version 1.6 on. It also lets steps
// use ping, which otherwise needs raw sockets.
// Source: https://man7.org/linux/man-pages/man8/bridge.8.html (isolated)
func isolateSteps(path string) error {
	ports, err := portsOf(path)
	if err != nil {
		return fmt.Errorf("isolate the network of a step: %w", err)
	}
	if len(ports) == 0 {
		return errors.New("isolate the network of a step: it has no port on the bridge")
	}
	for _, port := range ports {
		link, err := netlink.LinkByIndex(port)
		if err == nil {
			err = netlink.LinkSetIsolated(link, true)
		}
		if err != nil {
			return fmt.Errorf("isolate the network of a step: %w", err)
		}
	}
	return nil
}

// portsOf returns the indexes of the interfaces at the other ends of a namespace's interfaces.
func portsOf(path string) (ports []int, err error) {
	namespace, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	err = netns.Do(namespace, func() error {
		netns.AllowPing()
		all, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, link := range all {
			if link.Type() == "veth" {
				ports = append(ports, link.Attrs().ParentIndex)
			}
		}
		return nil
	})
	return ports, err
}
