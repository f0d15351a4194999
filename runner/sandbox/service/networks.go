package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/domains"
	"slipway/runner/sandbox/network"
)

// ParseRegistries parses the values of --local-registry.
func ParseRegistries(values []string) ([]buildservice.LocalRegistry, error) {
	var all []buildservice.LocalRegistry
	for _, value := range values {
		registry, err := buildservice.ParseLocalRegistry(value)
		if err != nil {
			return nil, fmt.Errorf("--local-registry: %w", err)
		}
		all = append(all, registry)
	}
	return all, nil
}

// registryArgs returns the arguments of a builder that may use the registries.
func registryArgs(all []buildservice.LocalRegistry) []string {
	var args []string
	for _, r := range all {
		args = append(args, "--local-registry", r.Address)
	}
	return args
}

// networks returns the networks of builders. If builders use the machine's network, it also returns the
// reason, and logs it.
func (l commandLine) networks() (open func(context.Context, string) (domains.Network, error), why string) {
	b := BuilderNetworks{Policy: l.policy, Registries: l.registries, Log: l.log}
	why = l.unsupported
	if why == "" {
		open, why = b.Choose(l.builderArgs)
	}
	if why != "" {
		open = b.Machine(why)
	}
	return open, why
}

// Choose returns a function that opens a network for each builder, or the reason why it cannot. args are the
// arguments of the builders.
func (b BuilderNetworks) Choose(args []string) (
	open func(context.Context, string) (domains.Network, error), why string,
) {
	facts := sandbox.ReadNetworkFacts(sandbox.Privileged())
	switch {
	case usesHostNetwork(args):
		return nil, "--network is host"
	case facts.Privilege:
	case facts.Slirp == "":
		return nil, "this service is not root, and " + facts.NoSlirp
	default:
		b.Slirp = facts.Slirp
	}
	for _, problem := range refusedProxies(netpolicy.ProxyAddresses(), b.Policy) {
		b.Log.Warn(problem)
	}
	return b.Open, ""
}

// Machine returns a function that returns the machine's network for each builder, and logs the reason.
func (b BuilderNetworks) Machine(why string) func(context.Context, string) (domains.Network, error) {
	b.Log.WithField("why", why).Warn("builders use the network of this machine: no packet filter stops ADD of Git " +
		"repositories from connecting to services of this machine and its networks")
	return func(context.Context, string) (domains.Network, error) { return machineNetwork{}, nil }
}

// machineNetwork is the network of this machine.
type machineNetwork struct{}

var _ domains.Network = machineNetwork{}

func (machineNetwork) Enter() error      { return nil }
func (machineNetwork) Environ() []string { return sandbox.Network{Given: true}.Environ() }
func (machineNetwork) Close() error      { return nil }

// usesHostNetwork reports whether the arguments of a builder choose the network host for RUN steps. That
// network is the machine's, so the builder stays in it.
func usesHostNetwork(args []string) bool {
	for i, arg := range args {
		if arg == "--network="+sandbox.NetworkHost {
			return true
		}
		if arg == "--network" && slices.Equal(args[i+1:min(i+2, len(args))], []string{sandbox.NetworkHost}) {
			return true
		}
	}
	return false
}

// BuilderNetworks makes a network for each builder: a router with one namespace. The packet filter applies to
// all programs of the builder. RUN steps have networks inside it.
type BuilderNetworks struct {
	Slirp      string // path of slirp4netns; empty = this process is root of the machine
	ResolvConf string // file with the name servers; empty = /etc/resolv.conf
	Policy     netpolicy.Policy
	// Registries are the registries on this machine that builds may use. Each has its own forward.
	Registries []buildservice.LocalRegistry
	Log        logrus.FieldLogger
}

// Open makes a network. It is a domains.Options.Network.
func (b BuilderNetworks) Open(ctx context.Context, _ string) (domains.Network, error) {
	router, err := network.NewRouter(ctx, network.Options{
		Filter: network.Filter{Policy: b.Policy}, Slirp: b.Slirp, ResolvConf: b.ResolvConf, Log: b.Log,
	})
	if err != nil {
		return nil, err
	}
	n := &builderNetwork{router: router}
	if err := b.join(ctx, n); err != nil {
		return nil, errors.Join(err, router.Close())
	}
	return n, nil
}

// join makes the namespace with the forwards to registries and to proxies on the loopback.
func (b BuilderNetworks) join(ctx context.Context, n *builderNetwork) (err error) {
	if n.Namespace, err = n.router.Join(ctx, ""); err != nil {
		return err
	}
	forwards := map[string]string{} // targets by the address in the namespace
	for _, proxy := range netpolicy.ProxyAddresses() {
		if local, err := buildservice.ParseLocalRegistry(proxy); err == nil && local.Name == "" {
			forwards[local.Listen] = local.Address
		}
	}
	for _, registry := range b.Registries {
		forwards[registry.Listen] = registry.Address
	}
	for listen, address := range forwards {
		dial := func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
		// The forward ends with the namespace.
		if err := n.Forward(context.WithoutCancel(ctx), listen, dial); err != nil {
			return fmt.Errorf("forward connections to %s: %w", address, err)
		}
	}
	for _, registry := range b.Registries {
		if registry.Name != "" {
			n.local = append(n.local, registry.Name)
		}
	}
	n.machine, err = machineAddresses()
	return err
}

// machineAddresses returns the addresses of this machine.
func machineAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this machine: %w", err)
	}
	var addresses []netip.Addr
	for _, one := range all {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil && !prefix.Addr().IsLoopback() {
			addresses = append(addresses, prefix.Addr())
		}
	}
	return addresses, nil
}

// A builderNetwork is the network of one builder.
type builderNetwork struct {
	*network.Namespace
	router  *network.Router
	machine []netip.Addr // addresses of this machine
	local   []string     // names of registries on this machine
}

var _ domains.Network = (*builderNetwork)(nil)

// Environ returns the variables that a builder in the network needs.
func (n *builderNetwork) Environ() []string {
	return sandbox.Network{Given: true, Resolver: n.DNS(), Machine: n.machine, Local: n.local}.Environ()
}

// Close removes the router with the namespace.
func (n *builderNetwork) Close() error { return n.router.Close() }
