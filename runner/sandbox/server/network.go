package server

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"

	"slipway/runner/sandbox"
)

// openedNetwork is a network plan with its open providers.
type openedNetwork struct {
	plan      sandbox.NetworkPlan
	providers map[pb.NetMode]network.Provider
	dns       *oci.DNSConfig // nil = use the machine's resolvers
}

// openNetwork plans and opens the network of RUN steps. With the settings auto and step it tries the
// next network if one cannot be opened, and the plan's reason contains this.
func openNetwork(ctx context.Context, c Config) (openedNetwork, error) {
	facts := sandbox.ReadNetworkFacts(sandbox.Privileged())
	for {
		plan, err := sandbox.PlanNetwork(c.Network, facts)
		if err != nil {
			return openedNetwork{}, err
		}
		provider, dns, err := openProvider(ctx, plan, facts, c.State)
		if err == nil {
			return openedNetwork{plan: plan, providers: providers(plan, provider), dns: dns}, nil
		}
		fixed := c.Network != sandbox.NetworkAuto && c.Network != sandbox.NetworkStep
		last := plan.Mode == sandbox.NetworkNone || plan.Mode == sandbox.NetworkHost
		if fixed || last {
			return openedNetwork{}, fmt.Errorf("open network %s: %w", plan.Mode, err)
		}
		c.Log.WithError(err).Warn("network " + plan.Mode + " does not work here")
		facts = facts.Without(plan.Mode)
	}
}

func openProvider(ctx context.Context, plan sandbox.NetworkPlan, f sandbox.NetworkFacts,
	state string) (network.Provider, *oci.DNSConfig, error) {
	switch plan.Mode {
	case sandbox.NetworkCNI:
		provider, err := openCNI(ctx, state, f)
		return provider, nil, err
	case sandbox.NetworkSlirp:
		provider, err := openSlirp(state, f.Slirp)
		return provider, &oci.DNSConfig{Nameservers: []string{slirpDNS}}, err
	case sandbox.NetworkHost:
		return network.NewHostProvider(), nil, nil
	default:
		return network.NewNoneProvider(), nil, nil
	}
}

// providers returns the networks that a step may request. They include the host network only if it is
// the network of every step. A step has no raw sockets in any of them.
func providers(plan sandbox.NetworkPlan, provider network.Provider) map[pb.NetMode]network.Provider {
	restricted := restrictedProvider{Provider: provider}
	if plan.Mode == sandbox.NetworkCNI {
		restricted.prepare = isolateSteps
	}
	all := map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: restricted,
		pb.NetMode_NONE:  restrictedProvider{Provider: network.NewNoneProvider()},
	}
	if plan.Mode == sandbox.NetworkHost {
		all[pb.NetMode_HOST] = restricted // it is the network of every step
	}
	return all
}
