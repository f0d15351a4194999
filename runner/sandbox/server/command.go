package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/docker/go-units"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config/process"
	"slipway/runner/registry"
	"slipway/runner/sandbox"
)

// Command returns the command `slipway builder`.
func Command() *cli.Command {
	env := func(name string) cli.ValueSourceChain { return cli.EnvVars(name) }
	return &cli.Command{
		Name:  "builder",
		Usage: "BuildKit on a socket: builds Dockerfiles for the runners of this machine, or of others",
		Description: "Serves BuildKit's control API until it is stopped, or until nobody has asked for\n" +
			"anything for the idle time. As root it runs in namespaces of its own, so that even a\n" +
			"killed builder leaves no process and no mount behind; as an ordinary user with\n" +
			"subordinate ids it runs rootless. On a TCP address it serves other machines, and takes\n" +
			"only clients with a certificate.",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name:    "address",
				Usage:   "address to serve on: unix:///path, or tcp://host:port with --tls",
				Value:   "unix:///run/slipway/builder.sock",
				Sources: env("SLIPWAY_BUILDER_ADDRESS"),
			},
			tlsFlag(
				"certificate to serve TCP with, and the authority of its clients: a file of `slipway builder keys`",
			),
			&cli.StringFlag{
				Name:    "revoked",
				Usage:   "file of revoked clients' certificates, a SHA-256 fingerprint a line; read at each connection",
				Sources: env("SLIPWAY_BUILDER_REVOKED"),
			},
			&cli.StringFlag{
				Name:    "state",
				Usage:   "directory of the cache, for one builder at a time",
				Value:   "/var/lib/slipway/builder",
				Sources: env("SLIPWAY_BUILDER_STATE"),
			},
			&cli.StringFlag{
				Name:    "network",
				Usage:   "network of RUN steps: auto (cni, else slirp4netns, else none), step (auto, else the network of the container that it is in), cni, slirp4netns, none, host",
				Value:   sandbox.NetworkAuto,
				Sources: env("SLIPWAY_BUILDER_NETWORK"),
			},
			&cli.StringFlag{
				Name:    "cache-size",
				Usage:   "the cache is kept below this",
				Value:   "20GB",
				Sources: env("SLIPWAY_BUILDER_CACHE"),
			},
			&cli.StringSliceFlag{
				Name:    "frontend",
				Usage:   "Dockerfile frontend image (# syntax=) allowed besides docker/dockerfile:1, which is built in",
				Sources: env("SLIPWAY_BUILDER_FRONTENDS"),
			},
			&cli.StringSliceFlag{
				Name:    "insecure-registry",
				Usage:   "registry host that is read over plain HTTP",
				Sources: env("SLIPWAY_BUILDER_INSECURE_REGISTRIES"),
			},
			&cli.StringSliceFlag{
				Name:    "mirror",
				Usage:   "mirror of Docker Hub, asked before it: https://host, http://host or host",
				Sources: env("SLIPWAY_BUILDER_MIRRORS"),
			},
			&cli.StringFlag{
				Name:    "certs",
				Usage:   "directory of registries' certificates, as Docker's: HOST:PORT/ca.crt",
				Value:   registry.CertsDir,
				Sources: env("SLIPWAY_BUILDER_CERTS"),
			},
			&cli.StringSliceFlag{Name: "dns", Usage: "name server of RUN steps", Sources: env("SLIPWAY_BUILDER_DNS")},
			&cli.StringSliceFlag{
				Name:    "dns-search",
				Usage:   "search domain of RUN steps",
				Sources: env("SLIPWAY_BUILDER_DNS_SEARCH"),
			},
			&cli.DurationFlag{
				Name:    "idle",
				Usage:   "stop after this time without a call; 0 = never",
				Sources: env("SLIPWAY_BUILDER_IDLE"),
			},
			&cli.StringFlag{
				Name:    "runtime",
				Usage:   "OCI runtime: runc (crun 1.8.1 does not work)",
				Value:   "runc",
				Sources: env("SLIPWAY_BUILDER_RUNTIME"),
			},
			&cli.IntFlag{
				Name:    "parallel",
				Usage:   "build steps at once; 0 = twice the processors",
				Sources: env("SLIPWAY_BUILDER_PARALLEL"),
			},
			&cli.IntFlag{
				Name:    "socket-group",
				Usage:   "gid that may use the socket besides the owner",
				Value:   os.Getegid(),
				Sources: env("SLIPWAY_BUILDER_SOCKET_GROUP"),
			},
			&cli.BoolFlag{Name: "probe", Usage: "say how a builder would run here, and what to mend, and end"},
		},
		Commands: []*cli.Command{keysCommand(), checkCommand()},
		Action:   action,
	}
}

func action(ctx context.Context, cmd *cli.Command) error {
	config, err := configOf(cmd)
	if err != nil {
		return cli.Exit(err, 2)
	}
	if cmd.Bool("probe") {
		return printProbe(
			cmd.Root().Writer,
			sandbox.Probe(
				ctx,
				sandbox.ProbeOptions{State: config.State, Network: config.Network, OCIRuntime: config.OCIRuntime},
			),
		)
	}
	err = sandbox.Run(ctx, config.State, func(ctx context.Context, e sandbox.Environment) error {
		// BuildKit logs to the global logger of logrus. The build's progress has all that users need.
		logrus.SetLevel(logrus.ErrorLevel)
		if e.Ephemeral {
			if err := skipSyncs(); err != nil {
				config.Log.WithError(err).Info("it syncs a state that is to be lost")
			}
		}
		config.Environment = e
		return Serve(ctx, config)
	})
	if errors.Is(err, process.ErrStateLocked) {
		return cli.Exit(err, process.ExitStateLocked)
	}
	return err
}

func configOf(cmd *cli.Command) (Config, error) {
	size, err := units.FromHumanSize(cmd.String("cache-size"))
	if err != nil {
		return Config{}, fmt.Errorf("--cache-size: %w", err)
	}
	id, err := readIdentity(cmd.String("tls"))
	if err != nil {
		return Config{}, err
	}
	log := logrus.New()
	log.SetOutput(cmd.Root().ErrWriter)
	return Config{
		Address:            cmd.String("address"),
		TLS:                id,
		Revoked:            cmd.String("revoked"),
		State:              cmd.String("state"),
		Network:            cmd.String("network"),
		OCIRuntime:         cmd.String("runtime"),
		CacheBytes:         size,
		Frontends:          cmd.StringSlice("frontend"),
		Idle:               cmd.Duration("idle"),
		InsecureRegistries: cmd.StringSlice("insecure-registry"),
		Mirrors:            cmd.StringSlice("mirror"),
		Certs:              cmd.String("certs"),
		DNS:                cmd.StringSlice("dns"),
		DNSSearch:          cmd.StringSlice("dns-search"),
		MaxParallelism:     cmd.Int("parallel"),
		SocketGroup:        cmd.Int("socket-group"),
		Log:                log,
	}.complete()
}

// printProbe prints the findings in one line. If a finding is not OK, it prints nothing and returns an
// error with the problems and their fixes.
func printProbe(w io.Writer, findings []sandbox.Finding) error {
	var found, problems []string
	for _, f := range findings {
		found = append(found, f.Name+" "+f.Detail)
		if !f.OK {
			problems = append(problems, f.Detail+": "+f.Fix)
		}
	}
	if problems != nil {
		return errors.New(strings.Join(problems, "; "))
	}
	_, err := fmt.Fprintln(w, strings.Join(found, "; "))
	return err
}
