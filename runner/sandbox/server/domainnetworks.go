package server

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"slipway/config/netpolicy"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/domains"
	"slipway/runner/sandbox/network"
	"slipway/runner/sandbox/service"
)

// A networkOpener opens the network of a domain's builder. It is a domains.Options.Network.
type networkOpener = func(ctx context.Context, domain string) (domains.Network, error)

// domainNetworks returns the networks of the builders of domains. They have the packet filter of the builder
// service, if networks can be made here. Otherwise builders use the machine's network, with a warning. If the
// settings of networks are set, it returns an error instead, because only the filter holds them.
func domainNetworks(ctx context.Context, cmd *cli.Command, c Config) (networkOpener, error) {
	registries, err := service.ParseRegistries(c.LocalRegistries)
	if err != nil {
		return nil, cli.Exit(err, 2)
	}
	b := service.BuilderNetworks{Policy: c.Policy, Registries: registries, Log: c.Log}
	open, why := chooseNetworks(ctx, b, childArgs(cmd))
	if why == "" {
		return open, nil
	}
	if c.Policy.RefusePrivate || len(c.Policy.Exceptions) > 0 {
		return nil, fmt.Errorf("%s and %s need a separate network for each builder: %s",
			netpolicy.PrivateSetting, netpolicy.AllowedSetting, why)
	}
	return b.Machine(why), nil
}

// chooseNetworks returns a function that opens networks with a packet filter, after it has opened one. If that
// is not possible, it returns the reason.
func chooseNetworks(ctx context.Context, b service.BuilderNetworks, args []string) (open networkOpener, why string) {
	if !sandbox.Privileged() {
		return nil, "the builder is not root of the machine"
	}
	if err := network.Sweep(); err != nil {
		b.Log.WithError(err).Warn("networks of an earlier process stay")
	}
	open, why = b.Choose(args)
	if why != "" {
		return nil, why
	}
	first, err := open(ctx, "")
	if err == nil {
		err = first.Close()
	}
	if err != nil {
		return nil, err.Error()
	}
	return open, ""
}
