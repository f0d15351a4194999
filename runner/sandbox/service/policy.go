package service

import (
	"github.com/urfave/cli/v3"

	"slipway/config/netpolicy"
)

// PolicyFlags returns the flags for the addresses that builds may reach. The builder service and builders
// have the same ones.
func PolicyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name:    "private-networks",
			Usage:   "allow or refuse: whether builds and their hooks reach private networks",
			Value:   netpolicy.PrivateAllow,
			Sources: cli.EnvVars(netpolicy.PrivateSetting),
		},
		&cli.StringSliceFlag{
			Name: "allowed-network",
			Usage: "address or network that is reachable although it is refused, with or without a TCP port: " +
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
