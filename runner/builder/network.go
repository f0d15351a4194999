package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
)

// The networks that RUN steps may have. Host is never chosen by itself on a machine: it shows a
// Dockerfile every service that listens on its loopback. In the container of a CI's step there
// is no more to be seen than the step itself sees.
const (
	NetworkAuto  = "auto"
	NetworkStep  = "step" // as auto, and where that finds none, the network of the container that this is in
	NetworkCNI   = "cni"
	NetworkSlirp = "slirp4netns"
	NetworkNone  = "none"
	NetworkHost  = "host"
)

// A NetworkPlan is the network that was chosen, and why.
type NetworkPlan struct {
	Mode   string
	Reason string
}

// networkFacts is what planNetwork knows of the machine.
type networkFacts struct {
	pluginDir string // has bridge, host-local and loopback; empty = none found
	iptables  bool
	slirp     string // path of slirp4netns; empty = not usable
	privilege bool   // root of the machine, not of a user namespace
}

func readNetworkFacts(privileged bool) networkFacts {
	f := networkFacts{privilege: privileged}
	for _, dir := range []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"} {
		if f.pluginDir == "" && hasPlugins(dir, "bridge", "host-local", "loopback") {
			f.pluginDir = dir
		}
	}
	_, err := exec.LookPath("iptables")
	f.iptables = err == nil
	if _, err := os.Stat("/dev/net/tun"); err == nil {
		f.slirp, _ = exec.LookPath("slirp4netns")
	}
	return f
}

func hasPlugins(dir string, names ...string) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// planNetwork chooses the network of RUN steps.
func planNetwork(asked string, f networkFacts) (NetworkPlan, error) {
	cniLacks := lacksForCNI(f)
	switch asked {
	case NetworkAuto:
		return planAuto(f, cniLacks), nil
	case NetworkStep:
		plan := planAuto(f, cniLacks)
		if plan.Mode == NetworkNone {
			plan = NetworkPlan{Mode: NetworkHost, Reason: "it is the step's container's own; " + plan.Reason}
		}
		return plan, nil
	case NetworkCNI:
		if cniLacks != "" {
			return NetworkPlan{}, fmt.Errorf("network cni: %s", cniLacks)
		}
	case NetworkSlirp:
		if f.slirp == "" {
			return NetworkPlan{}, errors.New("network slirp4netns: it needs the program slirp4netns and the device /dev/net/tun")
		}
	case NetworkNone, NetworkHost:
	default:
		return NetworkPlan{}, fmt.Errorf("network %q is none of auto, step, cni, slirp4netns, none, host", asked)
	}
	return NetworkPlan{Mode: asked, Reason: "it was asked for"}, nil
}

func planAuto(f networkFacts, cniLacks string) NetworkPlan {
	switch {
	case cniLacks == "":
		return NetworkPlan{Mode: NetworkCNI, Reason: "CNI plugins are in " + f.pluginDir}
	case f.slirp != "":
		return NetworkPlan{Mode: NetworkSlirp, Reason: "slirp4netns is installed; no CNI bridge: " + cniLacks}
	default:
		return NetworkPlan{Mode: NetworkNone, Reason: "no CNI bridge: " + cniLacks + "; no slirp4netns either"}
	}
}

// lacksForCNI says what a CNI bridge needs and is not there; empty = nothing.
func lacksForCNI(f networkFacts) string {
	switch {
	case !f.privilege:
		return "a bridge needs root outside a user namespace"
	case f.pluginDir == "":
		return "the plugins bridge, host-local and loopback are not installed (Debian: apt-get install containernetworking-plugins iptables)"
	case !f.iptables:
		return "iptables is not installed (Debian: apt-get install iptables)"
	default:
		return ""
	}
}

// openedNetwork is a plan put into practice.
type openedNetwork struct {
	plan      NetworkPlan
	providers map[pb.NetMode]network.Provider
	dns       *oci.DNSConfig // nil = the machine's resolvers
}

// openNetwork plans and opens the network of RUN steps. Under auto and step a network that
// cannot be opened gives way to the next one, and the plan's reason says so.
func openNetwork(ctx context.Context, c Config) (openedNetwork, error) {
	facts := readNetworkFacts(privileged())
	for {
		plan, err := planNetwork(c.Network, facts)
		if err != nil {
			return openedNetwork{}, err
		}
		provider, dns, err := openProvider(ctx, plan, facts, c.State)
		if err == nil {
			return openedNetwork{plan: plan, providers: providers(plan, provider), dns: dns}, nil
		}
		if c.Network != NetworkAuto && c.Network != NetworkStep || plan.Mode == NetworkNone || plan.Mode == NetworkHost {
			return openedNetwork{}, fmt.Errorf("open network %s: %w", plan.Mode, err)
		}
		c.Log.WithError(err).Warn("network " + plan.Mode + " does not work here")
		facts = facts.without(plan.Mode)
	}
}

func (f networkFacts) without(mode string) networkFacts {
	if mode == NetworkCNI {
		f.pluginDir = ""
	} else {
		f.slirp = ""
	}
	return f
}

func openProvider(ctx context.Context, plan NetworkPlan, f networkFacts, state string) (network.Provider, *oci.DNSConfig, error) {
	switch plan.Mode {
	case NetworkCNI:
		provider, err := openCNI(ctx, state, f)
		return provider, nil, err
	case NetworkSlirp:
		provider, err := openSlirp(state, f.slirp)
		return provider, &oci.DNSConfig{Nameservers: []string{slirpDNS}}, err
	case NetworkHost:
		return network.NewHostProvider(), nil, nil
	default:
		return network.NewNoneProvider(), nil, nil
	}
}

// providers maps what a step may ask for. There is no host network to be had, whatever a
// request says, unless it is the network of every step.
func providers(plan NetworkPlan, provider network.Provider) map[pb.NetMode]network.Provider {
	all := map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: provider,
		pb.NetMode_NONE:  network.NewNoneProvider(),
	}
	if plan.Mode == NetworkHost {
		all[pb.NetMode_HOST] = provider // which every step's is then
	}
	return all
}
