package service

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/config/netpolicy"
)

// PolicyFlags returns the flags for the addresses that builds may reach. The builder service and builders
// have the same flags.
func PolicyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name:    "private-networks",
			Usage:   "allow or refuse connections of builds and their hooks to private networks",
			Value:   netpolicy.PrivateAllow,
			Sources: cli.EnvVars(netpolicy.PrivateSetting),
		},
		&cli.StringSliceFlag{
			Name: "allowed-network",
			Usage: "address or network that builds may reach although a rule refuses it, with or without a TCP port: " +
				"10.1.2.3:5000, 10.0.0.0/8 or [fd12::1]:443",
			Sources: cli.EnvVars(netpolicy.AllowedSetting),
		},
	}
}

// ReadPolicy reads the policy from the flags.
func ReadPolicy(cmd *cli.Command) (netpolicy.Policy, error) {
	return netpolicy.Parse(cmd.String("private-networks"), cmd.StringSlice("allowed-network"))
}

// PolicyArgs returns the arguments of a builder with the same policy.
func PolicyArgs(p netpolicy.Policy) []string {
	private, allowed := p.Settings()
	args := []string{"--private-networks", private}
	for _, network := range allowed {
		args = append(args, "--allowed-network", network)
	}
	return args
}

// lookupTimeout bounds the look-up of a proxy's name.
const lookupTimeout = 2 * time.Second

// refusedProxies returns a message for each proxy that the policy refuses. Builders use the proxies, and a
// packet filter sees no names. A proxy on the machine's loopback is forwarded.
func refusedProxies(proxies []string, p netpolicy.Policy) []string {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	var problems []string
	for _, proxy := range proxies {
		host, port, err := net.SplitHostPort(proxy)
		if err != nil {
			continue // the transport reports it
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			continue // the transport reports it
		}
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue // the transport reports it
		}
		for _, address := range addresses {
			target := netip.AddrPortFrom(address.Unmap(), uint16(number))
			if err := p.CheckPort(target); err != nil && !address.IsLoopback() {
				problems = append(problems, fmt.Sprintf("builds do not reach the proxy %s: %v", proxy, err))
			}
		}
	}
	return problems
}
