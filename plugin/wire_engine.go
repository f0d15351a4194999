package plugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipway/config/identity"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/embedded"
	"slipway/plugin/engine/inrepo"
)

// self is this program's own file, by a path that works for any user and after an upgrade
// replaced the file.
const self = "/proc/self/exe"

// defaultRunnerUser is whom embedded runners run as when the gateway is root: numbers that
// no Debian account has.
const defaultRunnerUser = "64000:64000"

// wireEmbedded makes the embedded engine, where it is configured, and, unless an address is
// set, its builder.
func (g *Gateway) wireEmbedded(context.Context) error {
	if !slices.Contains(g.config.Engines(), embedded.Name) {
		return nil
	}
	uid, gid, err := runnerUser(g.config.RunnerUser, os.Geteuid())
	if err != nil {
		return err
	}
	who, err := identity.Read(g.config.BuilderTLS)
	if err != nil {
		return fmt.Errorf("SLIPWAY_BUILDER_TLS: %w", err)
	}
	address := func(context.Context) (string, error) { return g.config.Builder, nil }
	if g.config.Builder == "" {
		builder := embedded.NewBuilder(embedded.BuilderOptions{
			Executable: self,
			Dir:        filepath.Join(g.config.Data, "builder"),
			Network:    g.config.BuilderNetwork,
			CacheSize:  g.config.BuilderCache,
			Frontends:  g.config.Frontends,
			Idle:       g.config.BuilderIdle,
			Gid:        gid,
			Log:        g.log,
		})
		g.close = append(g.close, builder.Close)
		address = builder.Address
	}
	engine := embedded.New(embedded.Options{
		Executable: self, WorkDir: filepath.Join(g.config.Data, "work"), Address: address,
		FirstUID: uid, FirstGID: gid, Log: g.log,
	})
	g.close = append(g.close, engine.Close)
	g.engines[embedded.Name] = dispatcher.Engine{
		Engine:     engine,
		Limit:      g.config.Concurrency,
		URL:        g.runnerURL(),
		BuilderTLS: who.Text(),
	}
	return nil
}

// wireInRepo makes the engine for steps in the repositories' own pipelines. An attempt waits for a
// pipeline at most half of its time: the other half is for the build.
func (g *Gateway) wireInRepo(context.Context) error {
	g.inrepo = inrepo.New(inrepo.Options{
		Tokens: g.store,
		Builds: g.store,
		Refs:   g.store,
		Poller: g.polls,
		Wait:   min(time.Hour, g.config.BuildTimeout/2),
		Now:    g.store.Now,
		Log:    g.log,
	})
	g.engines[inrepo.Name] = dispatcher.Engine{Engine: g.inrepo, URL: g.config.URL, InRepository: true}
	return nil
}

// runnerUser reads uid:gid. Without a setting, runners of root get users of their own and
// runners of anybody else stay who they are (0, 0).
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
			"SLIPWAY_RUNNER_USER=%s: give uid:gid in numbers above 0, as %s",
			setting,
			defaultRunnerUser,
		)
	}
	return uid, gid, nil
}
