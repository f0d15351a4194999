package plugin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"slipway/config"
	"slipway/config/identity"
	"slipway/config/process"
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
	"slipway/runner/sandbox/domains"
)

// defaultRunnerUser is the user of embedded runners if the gateway runs as root. No Debian account
// has these numbers.
const defaultRunnerUser = "64000:64000"

// engines are the configured engines. The maps are by engine name.
type engines struct {
	byName     map[string]dispatcher.Engine
	inrepo     *inrepo.Engine
	extensions map[string]http.Handler // requests of CI servers
	cis        map[string]pages.CI     // engines on CI servers
	probes     pipeline.Probes         // of any CI, because all accept each other's; zero without a CI
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
	}
	all.byName[inrepo.Name] = dispatcher.Engine{Engine: all.inrepo, URL: b.config.URL, InRepository: true}
	if slices.Contains(b.config.Engines(), embedded.Name) {
		e, err := newEmbedded(b)
		if err != nil {
			return engines{}, err
		}
		all.byName[embedded.Name] = e
	}
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

// newEmbedded returns the embedded engine. Without an address of a builder, the engine starts its own,
// one for each cache domain.
func newEmbedded(b base) (dispatcher.Engine, error) {
	uid, gid, err := runnerUser(b.config.RunnerUser, os.Geteuid())
	if err != nil {
		return dispatcher.Engine{}, err
	}
	id, err := identity.Read(b.config.BuilderTLS)
	if err != nil {
		return dispatcher.Engine{}, fmt.Errorf("SLIPWAY_BUILDER_TLS: %w", err)
	}
	options := embedded.Options{
		Executable: assembly.Executable,
		WorkDir:    filepath.Join(b.config.Data, "work"),
		Address:    func(context.Context, string) (string, error) { return b.config.Builder, nil },
		FirstUID:   uid,
		FirstGID:   gid,
		Log:        b.log,
	}
	if b.config.Builder == "" {
		builders, err := newBuilders(b, gid)
		if err != nil {
			return dispatcher.Engine{}, err
		}
		b.closers.add(builders.Close)
		options.Address = builders.Address
		options.LinkSockets = true
	}
	engine := embedded.New(options)
	b.closers.add(engine.Close)
	return dispatcher.Engine{
		Engine: engine, URL: b.runnerURL(), BuilderTLS: id.Text(),
		Limits: embeddedLimits(b.config),
	}, nil
}

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

// newBuilders returns the builders of the embedded engine, one for each cache domain. Runners have the
// group gid.
func newBuilders(b base, gid int) (*domains.Supervisor, error) {
	cache, err := units.FromHumanSize(b.config.BuilderCache)
	if err != nil {
		return nil, fmt.Errorf("SLIPWAY_BUILDER_CACHE is %q: give a size as 20GB", b.config.BuilderCache)
	}
	return domains.New(domains.Options{
		Executable: assembly.Executable,
		Dir:        filepath.Join(b.config.Data, "builder"),
		Args:       builderArgs(b.config),
		Environ:    process.Environ(os.Environ()),
		Group:      gid,
		Idle:       b.config.BuilderIdle,
		MaxRunning: max(domains.DefaultMaxRunning, b.config.Concurrency),
		CacheBytes: cache,
		Log:        b.log,
	}), nil
}

// builderArgs returns the arguments of each builder that come from settings.
func builderArgs(c config.Gateway) []string {
	args := []string{
		"--network", c.BuilderNetwork,
		"--build-processes", strconv.FormatInt(c.BuildProcesses, 10),
		"--build-cpus", strconv.FormatFloat(c.BuildCPUs, 'g', -1, 64),
		"--builds", strconv.Itoa(c.Concurrency),
		"--own-builds", strconv.Itoa(buildsPerDomain(c)),
	}
	if c.BuildMemory != "" {
		args = append(args, "--build-memory", c.BuildMemory)
	}
	for _, image := range c.Frontends {
		args = append(args, "--frontend", image)
	}
	return args
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
		one, err := newCI(b, woodpecker.Name, assembly.Woodpecker(o), c, o.Probes)
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

// runnerUser parses SLIPWAY_RUNNER_USER, e.g. "7000:7001". If it is empty, a gateway that runs as root
// uses defaultRunnerUser. For any other user the result is 0, 0: runners keep the gateway's user.
func runnerUser(setting string, euid int) (uid, gid int, err error) {
	if euid != 0 {
		if setting != "" {
			return 0, 0, fmt.Errorf(
				"SLIPWAY_RUNNER_USER=%s: only a gateway that runs as root can change users; unset it",
				setting,
			)
		}
		return 0, 0, nil
	}
	if setting == "" {
		setting = defaultRunnerUser
	}
	u, g, found := strings.Cut(setting, ":")
	uid, errU := strconv.Atoi(u)
	gid, errG := strconv.Atoi(g)
	if !found || errU != nil || errG != nil || uid <= 0 || gid <= 0 {
		return 0, 0, fmt.Errorf(
			"SLIPWAY_RUNNER_USER=%s: set numbers above 0 as uid:gid, for example %s",
			setting,
			defaultRunnerUser,
		)
	}
	return uid, gid, nil
}
