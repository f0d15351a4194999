package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config/identity"
	"slipway/config/process"
	"slipway/runner/sandbox/domains"
	"slipway/runner/sandbox/remote"
	"slipway/runner/sandbox/service"
)

// domainIdle is the time without a client after which the builder of a cache domain stops, if --idle is
// not set. Its start takes 50 ms, and it uses 20 MB until then.
const domainIdle = 10 * time.Minute

// serveDomains serves the clients of other machines at a TCP address until ctx ends: each cache domain
// has a builder process of its own. It fails at once if no builder can run here.
func serveDomains(ctx context.Context, cmd *cli.Command, c Config, address string) error {
	front, err := frontOf(cmd, c.Log)
	if err != nil {
		return cli.Exit(err, 2)
	}
	listener, err := front.Listen(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	networks, err := domainNetworks(ctx, cmd, c)
	if err != nil {
		return err
	}
	supervisor := domains.New(domains.Options{
		Executable: "/proc/self/exe",
		Dir:        c.State,
		Args:       childArgs(cmd),
		Network:    networks,
		Environ:    childEnviron(os.Environ()),
		Idle:       domainIdleOf(cmd),
		Parallel:   c.MaxParallelism,
		CacheBytes: c.CacheBytes,

		ShareLayers: true,

		Log: c.Log,
	})
	defer supervisor.Close()
	if _, err := supervisor.Address(ctx, identity.DefaultDomain); err != nil {
		return err
	}
	front.Dial = supervisor.Dial
	c.Log.WithFields(logrus.Fields{"address": c.Address, "state": c.State}).Info(process.ReadyMessage)
	return front.Serve(ctx, listener)
}

func frontOf(cmd *cli.Command, log logrus.FieldLogger) (remote.Front, error) {
	id, err := remote.ReadIdentity(cmd.String("tls"))
	if err != nil {
		return remote.Front{}, err
	}
	revoked := cmd.String("revoked")
	if revoked != "" {
		if revoked, err = filepath.Abs(revoked); err != nil {
			return remote.Front{}, fmt.Errorf("--revoked: %w", err)
		}
	}
	return remote.Front{Identity: id, Revoked: revoked, Log: log}, nil
}

func domainIdleOf(cmd *cli.Command) time.Duration {
	if cmd.IsSet("idle") {
		return cmd.Duration("idle")
	}
	return domainIdle
}

// childArgs returns the settings of the command as arguments for the builders of domains, without the
// settings that the supervisor sets.
func childArgs(cmd *cli.Command) []string {
	supervised := []string{"state", "cache-size", "parallel"}
	var args []string
	for _, flag := range slices.Concat(buildFlags(), limitFlags(), networkFlags(), service.PolicyFlags()) {
		name := flag.Names()[0]
		if slices.Contains(supervised, name) || !cmd.IsSet(name) {
			continue
		}
		switch value := cmd.Value(name).(type) {
		case []string:
			for _, v := range value {
				args = append(args, "--"+name+"="+v)
			}
		default:
			args = append(args, fmt.Sprintf("--%s=%v", name, value))
		}
	}
	return args
}

// childEnviron returns the environment for the builders of domains, without Slipway's settings. Builders
// get their settings as arguments. Other settings, such as the key of the certificate, are not for
// builders.
func childEnviron(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return strings.HasPrefix(v, "SLIPWAY_") })
}
