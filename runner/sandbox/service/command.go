package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/config/process"
	"slipway/config/size"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/domains"
)

// A LimitReader reads the limits of builds from the flags that it declares.
type LimitReader struct {
	Flags []cli.Flag
	Read  func(cmd *cli.Command) (cgroup.Settings, error)
}

// Command returns the command `slipway builder service`. Its builders have the same flags for limits.
func Command(limits LimitReader) *cli.Command {
	return &cli.Command{
		Name:      "service",
		Usage:     "the builder service of a gateway: starts its runners, their builders and their sandboxes",
		ArgsUsage: "[-- flags of slipway builder]",
		Description: "A gateway starts it, or systemd starts it as root for a gateway that is an ordinary user.\n" +
			"The arguments after -- go to each builder, for example -- --network none.",
		Flags: slices.Concat(serviceFlags(), PolicyFlags(), limits.Flags),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			line, err := parse(cmd)
			if err == nil {
				line.limits, err = limits.Read(cmd)
			}
			if err != nil {
				return cli.Exit(err, 2)
			}
			return line.run(ctx)
		},
	}
}

func serviceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name:    "socket",
			Usage:   "path of the socket for the gateway",
			Value:   "/run/slipway/service.sock",
			Sources: cli.EnvVars("SLIPWAY_SERVICE_SOCKET"),
		},
		&cli.StringFlag{
			Name:    "state",
			Usage:   "directory of the caches and of running attempts",
			Value:   "/var/lib/slipway-builder",
			Sources: cli.EnvVars("SLIPWAY_SERVICE_STATE"),
		},
		&cli.StringFlag{
			Name:    "gateway-user",
			Usage:   "user of the gateway, a name or a uid, which may use the service in addition to the service's own user",
			Sources: cli.EnvVars("SLIPWAY_SERVICE_GATEWAY_USER"),
		},
		&cli.StringFlag{
			Name:    "runner-user",
			Usage:   "uid:gid of the first runner; each further concurrent runner has the next free uid",
			Value:   buildservice.DefaultRunnerUser,
			Sources: cli.EnvVars("SLIPWAY_RUNNER_USER"),
		},
		&cli.DurationFlag{
			Name:    "idle",
			Usage:   "stop a builder after this time without a client; 0 = never",
			Value:   10 * time.Minute,
			Sources: cli.EnvVars("SLIPWAY_BUILDER_IDLE"),
		},
		&cli.IntFlag{
			Name:    "running",
			Usage:   "maximum number of builders that run at once",
			Value:   domains.DefaultMaxRunning,
			Sources: cli.EnvVars("SLIPWAY_BUILDER_RUNNING"),
		},
		&cli.StringFlag{
			Name:    "cache-size",
			Usage:   "maximum size of the caches of all builders together",
			Value:   "20GB",
			Sources: cli.EnvVars("SLIPWAY_BUILDER_CACHE"),
		},
		&cli.StringSliceFlag{
			Name: "local-registry",
			Usage: "registry on this machine that builds may use, for example 127.0.0.1:5000 or registry.example.com:443; " +
				"builds reach no other service of this machine",
			Sources: cli.EnvVars("SLIPWAY_BUILDER_LOCAL_REGISTRIES"),
		},
		&cli.StringFlag{
			Name: "builder",
			Usage: "address of a running builder for all builds, unix:///path or tcp://host:port; default: a builder for " +
				"each cache domain",
			Sources: cli.EnvVars("SLIPWAY_SERVICE_BUILDER"),
		},
		&cli.StringFlag{
			Name:    "disk",
			Usage:   "size of the disk of one build, for example 10GB; default: half of the free space, divided by --builds, at most 20GB",
			Sources: cli.EnvVars("SLIPWAY_BUILD_DISK"),
		},
		&cli.StringFlag{
			Name: "builder-disk",
			Usage: "size of the disk of one builder, for example 20GB: its cache and what its builds write; " +
				"default: an eighth of the disk of --state, at least 2GB and at most 20GB",
			Sources: cli.EnvVars(disk.KeptSetting),
		},
	}
}

// A commandLine is the parsed command line.
type commandLine struct {
	socket, state string
	builder       string // address of a builder for all attempts; empty = a builder for each cache domain
	gatewayUser   int    // 0 = the service's own
	uid, gid      int    // ids of runners
	idle          time.Duration
	running       int
	disk          int64 // bytes; 0 = the default
	cache         int64 // bytes
	builderDisk   int64 // bytes; 0 = the default
	limits        cgroup.Settings
	limited       bool // the service can enforce the limits
	registries    []buildservice.LocalRegistry
	policy        netpolicy.Policy // addresses that builds and their hooks reach
	builderArgs   []string
	version       string // of this program
	unsupported   string // reason why no sandbox can run here; empty = sandboxes may run
	log           logrus.FieldLogger
}

func parse(cmd *cli.Command) (commandLine, error) {
	uid, gid, err := buildservice.ParseUser(cmd.String("runner-user"))
	if err != nil {
		return commandLine{}, fmt.Errorf("--runner-user: %w", err)
	}
	state, err := filepath.Abs(cmd.String("state"))
	if err != nil {
		return commandLine{}, fmt.Errorf("--state: %w", err)
	}
	diskBytes, err := parseSize(cmd, "disk")
	if err != nil {
		return commandLine{}, err
	}
	cache, err := parseSize(cmd, "cache-size")
	if err != nil {
		return commandLine{}, err
	}
	builderDisk, err := parseSize(cmd, "builder-disk")
	if err != nil {
		return commandLine{}, err
	}
	gatewayUser, err := parseGatewayUser(cmd.String("gateway-user"))
	if err != nil {
		return commandLine{}, err
	}
	registries, err := ParseRegistries(cmd.StringSlice("local-registry"))
	if err != nil {
		return commandLine{}, err
	}
	policy, err := ReadPolicy(cmd)
	if err != nil {
		return commandLine{}, err
	}
	log := logrus.New()
	log.SetOutput(cmd.Root().ErrWriter)
	return commandLine{
		disk:        diskBytes,
		cache:       cache,
		builderDisk: builderDisk,
		limited:     cmd.Bool("limits"),
		socket:      cmd.String("socket"),
		builder:     cmd.String("builder"),
		state:       state,
		gatewayUser: gatewayUser,
		uid:         uid,
		gid:         gid,
		idle:        cmd.Duration("idle"),
		running:     cmd.Int("running"),
		registries:  registries,
		policy:      policy,
		builderArgs: cmd.Args().Slice(),
		version:     cmd.Root().Version,
		log:         log,
	}, nil
}

// parseGatewayUser returns the uid of a user. An empty text is 0.
func parseGatewayUser(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	number := text
	if found, err := user.Lookup(text); err == nil {
		number = found.Uid
	}
	uid, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("--gateway-user is %q: set the name or the uid of a user of this machine", text)
	}
	return int(uid), nil
}

// parseSize parses a size such as 20GB. An empty flag is 0.
func parseSize(cmd *cli.Command, name string) (int64, error) {
	bytes, err := size.ParseOptional(cmd.String(name))
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", name, err)
	}
	return bytes, nil
}

// run runs the service in namespaces of its own, or without if they are not possible.
func (l commandLine) run(ctx context.Context) error {
	serve := func(ctx context.Context, _ sandbox.Environment) error { return l.serve(ctx) }
	err := sandbox.Run(ctx, sandbox.RunOptions{State: l.state}, serve)
	var unsupported *sandbox.NotSupportedError
	if errors.As(err, &unsupported) {
		l.log.WithError(err).
			Warn("no builder and no sandbox can run here: builds need SLIPWAY_BUILDER, and build hooks are off")
		l.unsupported = err.Error()
		err = l.serve(ctx)
	}
	if errors.Is(err, process.ErrStateLocked) {
		return cli.Exit(err, process.ExitStateLocked)
	}
	return err
}

// serve runs the service in its namespaces until ctx ends.
func (l commandLine) serve(ctx context.Context) error {
	//nolint:gosec // runners pass through to their directories; the caches' directories are 0700
	if err := os.MkdirAll(l.state, 0o711); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	unlock, err := sandbox.LockState(l.state, 0)
	if err != nil {
		return err
	}
	defer unlock()
	// Delete the cache of releases in which all builds shared one builder.
	if err := os.RemoveAll(filepath.Join(l.state, "state")); err != nil {
		l.log.WithError(err).Warn("cannot delete the cache of an earlier release: delete it by hand")
	}
	builderDisk, builderWatch, err := l.builderDiskBytes()
	if err != nil {
		return err
	}
	// The sandboxes are closed after the builders, because Close kills the processes in their group.
	sandboxes, stop := l.sandboxes(ctx)
	defer stop()
	network, shared := l.networks()
	builders := domains.New(domains.Options{
		Executable: self,
		Dir:        filepath.Join(l.state, "domains"),
		Args:       l.args(),
		Network:    network,
		Environ:    sandbox.BuilderEnviron(os.Environ()),
		Idle:       l.idle,
		MaxRunning: l.running,
		CacheBytes: l.cache,

		DiskBytes:   builderDisk,
		WatchBytes:  builderWatch,
		DiskReserve: minFree,

		ShareLayers: true,
		Obsolete:    []string{filepath.Join(l.state, "state")}, // state of the former shared builder

		Log: l.log,
	})
	defer builders.Close()
	o, err := l.options(builders, sandboxes)
	if err != nil {
		return err
	}
	program := l.runnerProgram(ctx)
	defer func() { _ = program.close() }() // nothing was written
	o.Program = program.path
	if shared != "" {
		o.NotHeld = append(o.NotHeld, "network: builders use the network of this machine: "+shared)
	}
	if o.WatchBytes > 0 {
		o.NotHeld = append(o.NotHeld, "disk: the files of a build are measured, so a build can exceed "+diskSetting+
			" until it is stopped, because nothing can be mounted here")
	}
	service, err := New(o)
	if err != nil {
		return err
	}
	listener, err := listen(l.socket, l.gatewayUser)
	if err != nil {
		return err
	}
	l.log.WithField("socket", l.socket).Info(process.ReadyMessage)
	return service.Serve(ctx, listener)
}

// args returns the arguments of each builder.
func (l commandLine) args() []string {
	return slices.Concat(
		limitArgs(l.limits, l.limited), registryArgs(l.registries), PolicyArgs(l.policy), l.builderArgs,
	)
}

// limitArgs returns the arguments of a builder with the same limits.
func limitArgs(s cgroup.Settings, limited bool) []string {
	return []string{
		"--build-memory", strconv.FormatInt(s.Memory, 10),
		"--build-processes", strconv.FormatInt(s.Processes, 10),
		"--build-cpus", strconv.FormatFloat(s.CPUs, 'g', -1, 64),
		"--builds", strconv.Itoa(s.Builds),
		"--own-builds", strconv.Itoa(s.Own),
		"--limits=" + strconv.FormatBool(limited),
	}
}

// self is this program, even if its file was replaced or is in a directory of another user.
const self = "/proc/self/exe"

// sandboxes returns the sandboxes of this machine, and a function that ends them.
func (l commandLine) sandboxes(ctx context.Context) (Sandboxes, func()) {
	if l.unsupported != "" {
		return NoSandboxes{Why: l.unsupported}, func() {}
	}
	all := NewHostSandboxes(ctx, SandboxOptions{
		Dir: sandboxDir(l.state), Policy: l.policy, Limits: l.limits, Unlimited: !l.limited, Log: l.log,
	})
	return all, all.Close
}

func (l commandLine) options(builders Builders, sandboxes Sandboxes) (Options, error) {
	o := Options{
		Dir:       l.state,
		Builders:  builders,
		Builder:   l.builder,
		Environ:   runnerEnviron(os.Environ()),
		Sandboxes: sandboxes,
		DiskBytes: l.disk,
		Policy:    l.policy,
		Log:       l.log,
	}
	if l.gatewayUser != 0 {
		o.Peers = []uint32{uint32(l.gatewayUser)} //nolint:gosec // a uid
	}
	if os.Geteuid() == 0 {
		o.FirstUID, o.GID = l.uid, l.gid
	}
	var err error
	switch {
	case l.unsupported != "": // nothing can be mounted
		o.WatchBytes, o.DiskBytes = o.DiskBytes, 0
		if o.WatchBytes == 0 {
			o.WatchBytes, err = defaultDisk(l.state, l.limits.Builds)
		}
	case o.DiskBytes != 0:
	case sandbox.Privileged():
		o.DiskBytes, err = defaultDisk(l.state, l.limits.Builds)
	default:
		o.DiskBytes, err = defaultMemoryDisk(l.limits.Builds)
	}
	return o, err
}
