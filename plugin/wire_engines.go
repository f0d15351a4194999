package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipway/config"
	"slipway/config/buildservice"
	"slipway/config/identity"
	"slipway/config/netpolicy"
	"slipway/config/size"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/embedded"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/reconciler"
	"slipway/plugin/rules"
	"slipway/plugin/watcher"
	"slipway/plugin/web/pages"
)

// minBuilders is the number of builders of different cache domains that may stay running. An idle one
// uses about 20 MB.
const minBuilders = 10

// engines are the configured engines. The maps are by engine name.
type engines struct {
	byName     map[string]dispatcher.Engine
	inrepo     *inrepo.Engine
	extensions map[string]http.Handler // requests of CI servers
	cis        map[string]pages.CI     // engines on CI servers
	probes     pipeline.Probes         // of any CI, because all accept each other's; zero without a CI
	isolation  pages.Isolation         // of the embedded engine
	runsBuilds bool                    // the embedded engine is configured

	startService func(context.Context) error // starts the builder service, if it is the gateway's own
	stopBuilds   func()                      // ends the builds on this machine, and waits for their end
	continues    continuer                   // passes the builds on to another program; nil = they end
}

// A continuer keeps builds running while another program replaces the gateway's. *embedded.Engine does.
type continuer interface {
	// Detach returns the connections to the builds, by name.
	Detach() map[string]*os.File
	// Adopt continues a build, and closes its connection.
	Adopt(name string, connection *os.File) error
}

// newEngines returns the configured engines. polls schedules a poll if a pipeline reports an unknown
// push, and rechecks receives the attempts that a CI reports.
func newEngines(
	ctx context.Context, b base, polls *reconciler.Requests, rechecks *watcher.RecheckQueue,
) (engines, error) {
	all := engines{
		byName:     map[string]dispatcher.Engine{},
		inrepo:     newInRepo(b, polls),
		extensions: map[string]http.Handler{},
		cis:        map[string]pages.CI{},
		stopBuilds: func() {},
	}
	all.byName[inrepo.Name] = dispatcher.Engine{Engine: all.inrepo, URL: b.config.URL, InRepository: true}
	var levels embedded.LevelSource = buildservice.Client{Socket: assembly.ServiceSocket(b.config)}
	if slices.Contains(b.config.Engines(), embedded.Name) {
		service, start, err := newBuilderService(b)
		if err != nil {
			return engines{}, err
		}
		e, err := newEmbedded(b, service)
		if err != nil {
			return engines{}, err
		}
		all.byName[embedded.Name] = e.forDispatcher
		all.stopBuilds, all.continues = e.stop, e.continues
		all.runsBuilds = true
		all.startService = start
		levels = service
	}
	all.isolation = embedded.NewLevelCache(levels, b.store.Now)
	cis, err := newCIs(ctx, b, rechecks)
	if err != nil {
		return engines{}, err
	}
	for _, ci := range cis {
		all.byName[ci.name] = ci.forDispatcher
		all.extensions[ci.name] = ci.engine.Handler()
		all.cis[ci.name] = ci.engine
		all.probes = ci.probes
	}
	return all, nil
}

// newInRepo returns the engine for steps in the repositories' own pipelines. An attempt waits for a
// pipeline at most half of its time: the other half is for the build.
func newInRepo(b base, polls *reconciler.Requests) *inrepo.Engine {
	return inrepo.New(inrepo.Options{
		Tokens: b.store,
		Builds: b.store,
		Refs:   b.store,
		Poller: polls,
		Wait:   min(time.Hour, b.config.BuildTimeout/2),
		Now:    b.store.Now,
		Log:    b.log,
	})
}

// A builderService starts runners, and reports how they are isolated.
type builderService interface {
	embedded.Runners
	embedded.LevelSource
}

// ownIsolation returns the isolation of builds on this machine, or nil if no engine runs them here.
func (e engines) ownIsolation() pages.Isolation {
	if e.runsBuilds {
		return e.isolation
	}
	return nil
}

// newBuilderService returns the builder service at the configured socket. Without one, it returns a
// service of the gateway's own, which start starts.
func newBuilderService(b base) (service builderService, start func(context.Context) error, err error) {
	if b.config.BuilderService != "" {
		if err := checkServiceBuilder(b.config); err != nil {
			return nil, nil, err
		}
		if b.config.Private == netpolicy.PrivateRefuse || len(b.config.Allowed) > 0 {
			b.log.Infof("%s and %s are for the gateway's own requests: the builder service at %s has its own settings",
				netpolicy.PrivateSetting, netpolicy.AllowedSetting, b.config.BuilderService)
		}
		return buildservice.Client{Socket: b.config.BuilderService}, func(context.Context) error { return nil }, nil
	}
	args, err := serviceArgs(b.config)
	if err != nil {
		return nil, nil, err
	}
	own := embedded.NewService(embedded.ServiceOptions{
		Executable: assembly.Executable,
		Dir:        assembly.ServiceDir(b.config),
		Args:       args,
		Log:        b.log,
	})
	b.closers.add(own.Close)
	return own, own.Prepare, nil
}

// An embeddedEngine is the embedded engine, as the other parts use it.
type embeddedEngine struct {
	forDispatcher dispatcher.Engine
	stop          func() // ends the builds, and waits for their end
	continues     continuer
}

// checkServiceBuilder checks the builder of a gateway that has SLIPWAY_BUILDER_SERVICE.
func checkServiceBuilder(c config.Gateway) error {
	if !isLocal(c.Builder) {
		return nil
	}
	return fmt.Errorf(
		"SLIPWAY_BUILDER=%s: the builder service at %s accepts only TCP addresses from a gateway: "+
			"unset it, and start the service with --builder %[1]s",
		c.Builder, c.BuilderService,
	)
}

// newEmbedded returns the embedded engine.
func newEmbedded(b base, runners builderService) (embeddedEngine, error) {
	id, err := identity.Read(b.config.BuilderTLS)
	if err != nil {
		return embeddedEngine{}, fmt.Errorf("SLIPWAY_BUILDER_TLS: %w", err)
	}
	o := embedded.Options{Runners: runners, Log: b.log}
	if !isLocal(b.config.Builder) {
		o.Builder = b.config.Builder
	}
	engine := embedded.New(o)
	b.closers.add(engine.Close)
	stop, continues := engine.Close, continuer(engine)
	if own, ok := runners.(*embedded.Service); ok { // it is a child process, and ends with the program
		stop, continues = func() { engine.Close(); own.Close() }, nil
	}
	return embeddedEngine{
		forDispatcher: dispatcher.Engine{
			Engine: engine, URL: b.runnerURL(), BuilderTLS: id.Text(),
			Limits: embeddedLimits(b.config),
		},
		stop: stop, continues: continues,
	}, nil
}

// isLocal reports whether the address of a builder names a socket or a container of this machine. The builder
// service has it as an argument. It accepts none from a running gateway, because a compromised one could choose
// any socket.
func isLocal(builder string) bool { return builder != "" && !strings.HasPrefix(builder, "tcp://") }

// embeddedLimits returns the limits of builds at once on the embedded engine.
func embeddedLimits(c config.Gateway) autobuild.Limits {
	return autobuild.Limits{
		Total: c.Concurrency, PerBuild: c.PerBuild, PerWorkspace: c.PerWorkspace,
		Settings: "SLIPWAY_CONCURRENCY",
	}
}

// buildsPerDomain returns the number of builds that may run at once in one cache domain.
func buildsPerDomain(c config.Gateway) int {
	if rules.CacheScope(c.CacheDomain) == rules.CacheByWorkspace {
		return cmp.Or(c.PerWorkspace, c.Concurrency)
	}
	return embeddedLimits(c).MaxPerBuild()
}

// serviceArgs returns the arguments of the gateway's own builder service. Those after -- are for each
// builder.
func serviceArgs(c config.Gateway) ([]string, error) {
	args := []string{
		"--idle", c.BuilderIdle.String(),
		"--running", strconv.Itoa(max(minBuilders, c.Concurrency)),
		"--cache-size", c.BuilderCache,
	}
	err := errors.Join(
		checkRunnerUser(c.RunnerUser, os.Geteuid()),
		checkSize("SLIPWAY_BUILDER_CACHE", c.BuilderCache),
		checkSize("SLIPWAY_BUILD_DISK", c.BuildDisk),
		checkSize("SLIPWAY_BUILDER_DISK", c.BuilderDisk),
	)
	if err != nil {
		return nil, err
	}
	if c.RunnerUser != "" {
		args = append(args, "--runner-user", c.RunnerUser)
	}
	args = append(args,
		"--build-processes", strconv.FormatInt(c.BuildProcesses, 10),
		"--build-cpus", strconv.FormatFloat(c.BuildCPUs, 'g', -1, 64),
		"--builds", strconv.Itoa(c.Concurrency),
		"--own-builds", strconv.Itoa(buildsPerDomain(c)),
	)
	if isLocal(c.Builder) {
		args = append(args, "--builder", c.Builder)
	}
	if c.BuildMemory != "" {
		args = append(args, "--build-memory", c.BuildMemory)
	}
	if c.BuildDisk != "" {
		args = append(args, "--disk", c.BuildDisk)
	}
	if c.BuilderDisk != "" {
		args = append(args, "--builder-disk", c.BuilderDisk)
	}
	for _, host := range c.LocalRegistry {
		if _, err := buildservice.ParseLocalRegistry(host); err != nil {
			return nil, fmt.Errorf("SLIPWAY_BUILDER_LOCAL_REGISTRIES: %w", err)
		}
		args = append(args, "--local-registry", host)
	}
	args = append(args, "--private-networks", cmp.Or(c.Private, netpolicy.PrivateAllow))
	for _, network := range c.Allowed {
		args = append(args, "--allowed-network", strings.TrimSpace(network))
	}
	args = append(args, "--", "--network", c.BuilderNetwork)
	for _, image := range c.Frontends {
		args = append(args, "--frontend", image)
	}
	return args, nil
}

// checkSize checks a setting as 20GB, which may be empty.
func checkSize(name, text string) error {
	if _, err := size.ParseOptional(text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// checkRunnerUser checks SLIPWAY_RUNNER_USER, e.g. "7000:7001".
func checkRunnerUser(setting string, euid int) error {
	if setting == "" {
		return nil
	}
	if euid != 0 {
		return fmt.Errorf(
			"SLIPWAY_RUNNER_USER=%s: only a gateway that runs as root can change users; unset it",
			setting,
		)
	}
	if _, _, err := buildservice.ParseUser(setting); err != nil {
		return fmt.Errorf("SLIPWAY_RUNNER_USER=%s: %w", setting, err)
	}
	return nil
}

// A ci is an engine on a CI server, as the other parts use it.
type ci struct {
	name          string
	engine        ciEngine
	forDispatcher dispatcher.Engine
	probes        pipeline.Probes
}

// A ciEngine runs pipelines on a CI server. Handler serves the requests of the server.
type ciEngine interface {
	autobuild.Engine
	pages.CI
	Handler() http.Handler
}

// newCIs returns the engines on the configured CI servers.
func newCIs(ctx context.Context, b base, rechecks *watcher.RecheckQueue) ([]ci, error) {
	var all []ci
	if c := b.config.Woodpecker; c.Server != "" {
		o, err := ciOptions(ctx, b, woodpecker.Name)
		if err != nil {
			return nil, err
		}
		one, err := newCI(b, woodpecker.Name, assembly.Woodpecker(o), c.CI, o.Probes)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if c := b.config.Drone; c.Server != "" {
		o, err := ciOptions(ctx, b, drone.Name)
		if err != nil {
			return nil, err
		}
		e, err := assembly.Drone(ctx, o, b.store.ExtensionSecret, rechecks.Add)
		if err != nil {
			return nil, err
		}
		one, err := newCI(b, drone.Name, e, c.CI, o.Probes)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func ciOptions(ctx context.Context, b base, engine string) (assembly.CIOptions, error) {
	probes, err := assembly.Probes(ctx, engine, b.store.ExtensionSecret)
	if err != nil {
		return assembly.CIOptions{}, err
	}
	return assembly.CIOptions{Config: b.config, Handovers: b.store, Probes: probes, Log: b.log}, nil
}

func newCI(b base, name string, e ciEngine, c config.CI, probes pipeline.Probes) (ci, error) {
	id, err := identity.Read(c.BuilderTLS)
	if err != nil {
		return ci{}, fmt.Errorf("read the certificate for the builder of %s: %w", name, err)
	}
	forDispatcher := dispatcher.Engine{
		Engine: e, URL: b.config.URL, BuilderTLS: id.Text(),
		Limits: autobuild.Limits{
			Total: c.Concurrency, PerBuild: c.PerBuild, PerWorkspace: c.PerWorkspace,
			Settings: "SLIPWAY_" + strings.ToUpper(name) + "_CONCURRENCY",
		},
	}
	return ci{name: name, engine: e, forDispatcher: forDispatcher, probes: probes}, nil
}
