package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config/process"
	"slipway/config/size"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/remote"
	"slipway/runner/sandbox/service"
)

// Command returns the command `slipway builder`.
func Command() *cli.Command {
	probe := &cli.BoolFlag{Name: "probe", Usage: "print how a builder would run here, or the fix if none can, and exit"}
	return &cli.Command{
		Name:  "builder",
		Usage: "BuildKit on a socket: builds Dockerfiles for the runners of this machine, or of others",
		Description: "Serves BuildKit's control API until it is stopped, or has had no call for the idle time.\n" +
			"As root it runs in its own namespaces, so that even a killed builder leaves no process\n" +
			"and no mount. As an ordinary user with subordinate ids it runs rootless. On a TCP address\n" +
			"it serves other machines, and accepts only clients with a certificate. It then runs a builder\n" +
			"for each cache domain that the certificates name.",
		Flags: slices.Concat(
			listenFlags(),
			buildFlags(),
			limitFlags(),
			networkFlags(),
			service.PolicyFlags(),
			layerFlags(),
			[]cli.Flag{probe},
		),
		Commands: []*cli.Command{
			remote.KeysCommand(), remote.CheckCommand(), discardCommand(),
			service.Command(service.LimitReader{Flags: limitFlags(), Read: limitsOf}),
		},
		Action: action,
	}
}

func action(ctx context.Context, cmd *cli.Command) error {
	config, err := configOf(cmd)
	if err != nil {
		return cli.Exit(err, 2)
	}
	if cmd.Bool("probe") {
		o := sandbox.ProbeOptions{State: config.State, Network: config.Network, OCIRuntime: config.OCIRuntime}
		return printProbe(cmd.Root().Writer, sandbox.Probe(ctx, o))
	}
	if address, remote := strings.CutPrefix(config.Address, "tcp://"); remote {
		return exitCode(serveDomains(ctx, cmd, config, address))
	}
	err = sandbox.Run(ctx, config.sandbox(), func(ctx context.Context, e sandbox.Environment) error {
		// BuildKit logs to the global logger of logrus. The build's progress has all that users need.
		logrus.SetLevel(logrus.ErrorLevel)
		if e.Ephemeral {
			if err := skipSyncs(); err != nil {
				config.Log.WithError(err).Info("cannot skip syncs of an ephemeral state")
			}
		}
		config.Environment = e
		return Serve(ctx, config)
	})
	return exitCode(err)
}

// exitCode returns err with process.ExitStateLocked as its exit code if another process uses the state.
func exitCode(err error) error {
	if errors.Is(err, process.ErrStateLocked) {
		return cli.Exit(err, process.ExitStateLocked)
	}
	return err
}

func configOf(cmd *cli.Command) (Config, error) {
	cacheBytes, err := size.Parse(cmd.String("cache-size"))
	if err != nil {
		return Config{}, fmt.Errorf("--cache-size: %w", err)
	}
	limits, err := limitsOf(cmd)
	if err != nil {
		return Config{}, err
	}
	policy, err := service.ReadPolicy(cmd)
	if err != nil {
		return Config{}, err
	}
	log := logrus.New()
	log.SetOutput(cmd.Root().ErrWriter)
	return Config{
		Address:            cmd.String("address"),
		State:              cmd.String("state"),
		Network:            cmd.String("network"),
		OCIRuntime:         cmd.String("runtime"),
		CacheBytes:         cacheBytes,
		Frontends:          cmd.StringSlice("frontend"),
		Idle:               cmd.Duration("idle"),
		InsecureRegistries: cmd.StringSlice("insecure-registry"),
		LocalRegistries:    cmd.StringSlice("local-registry"),
		Policy:             policy,
		Mirrors:            cmd.StringSlice("mirror"),
		Certs:              cmd.String("certs"),
		DNS:                cmd.StringSlice("dns"),
		DNSSearch:          cmd.StringSlice("dns-search"),
		MaxParallelism:     cmd.Int("parallel"),
		Limited:            cmd.Bool("limits"),
		Limits:             limits,
		Layers:             cmd.String("layers"),
		WriteLayers:        cmd.Bool("write-layers"),
		Disk:               cmd.String("disk"),
		DiskLimit:          cmd.Int64("disk-limit"),
		DiskReserve:        cmd.Int64("disk-reserve"),
		SocketGroup:        cmd.Int("socket-group"),
		Log:                log,
	}.complete()
}

// limitsOf reads the limits of a build.
func limitsOf(cmd *cli.Command) (cgroup.Settings, error) {
	s := cgroup.Settings{
		Processes: cmd.Int64("build-processes"),
		CPUs:      cmd.Float("build-cpus"),
		Builds:    cmd.Int("builds"),
		Own:       cmd.Int("own-builds"),
	}
	var err error
	if s.Memory, err = size.ParseOptional(cmd.String("build-memory")); err != nil {
		return s, fmt.Errorf("--build-memory: %w", err)
	}
	if s.Processes < 0 || s.CPUs < 0 || s.Builds < 0 || s.Own < 0 {
		return s, errors.New("a limit of a build is negative: check --build-processes, --build-cpus, --builds and " +
			"--own-builds")
	}
	return s, nil
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
