package attempt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/caarlos0/env/v11"

	"slipway/config/buildservice"
	"slipway/runner/buildhooks"
	"slipway/runner/hookproxy"
	"slipway/runner/sandbox/confine"
	"slipway/runner/spec"
)

// A HookRunner runs the build hooks of one attempt, at one level of isolation.
type HookRunner interface {
	buildhooks.Executor
	// Share gives directories of the attempt to its hooks. It is not called while a hook runs.
	Share(dirs ...string) error
	// String describes the isolation for the log, for example "level container: another user (uid 62017)".
	String() string
}

// inSandbox reports whether hooks run in a sandbox of the builder service, at level full.
func (j *job) inSandbox() bool { return j.o.Control != nil && j.shared != j.dir }

// openHookRunner returns the runner of this attempt's hooks. The proxies are nil outside of a sandbox.
func (j *job) openHookRunner(ctx context.Context, proxies *hookproxy.Proxies) (HookRunner, error) {
	if proxies != nil {
		return openSandbox(ctx, j.o.Control, j.shared, proxies)
	}
	return j.o.Confine()
}

// prepareHooks prepares to run the hooks of a checkout, if it has any.
func (j *job) prepareHooks(ctx context.Context, c *checkout) (err error) {
	if len(c.hooks.Present()) == 0 {
		return nil
	}
	if err := j.checkHooks(c.hooks); err != nil {
		return err
	}
	if j.inSandbox() {
		if c.proxies, err = j.newHookProxies(ctx, c.hooks); err != nil {
			return err
		}
	}
	c.runner, err = j.openHookRunner(ctx, c.proxies)
	var unavailable *confine.UnavailableError
	var off *buildservice.OffError
	switch {
	case errors.As(err, &unavailable), errors.As(err, &off):
		return failed(reasonHook, fmt.Errorf("%s, and build hooks are off on this runner: %w", hasHook(c.hooks), err))
	case err != nil:
		return err
	}
	j.log.Line("build hooks run at %s", c.runner)
	if s, ok := c.runner.(sandboxed); ok && s.networkOff != "" {
		j.log.Line("in a build hook, git fetch and pushes fail: %s", s.networkOff)
	}
	if c.hookHome, err = j.makeHookDir("home"); err != nil {
		return err
	}
	if c.temp, err = j.makeHookDir("tmp"); err != nil {
		return err
	}
	return c.runner.Share(c.tree.Dir, c.hookHome, c.temp)
}

// hasHook names the first hook, for example "the repository has the build hook hooks/build".
func hasHook(hooks buildhooks.Hooks) string {
	return fmt.Sprintf("the repository has the build hook hooks/%s", hooks.Present()[0])
}

// checkHooks fails a build whose hooks cannot do their work here, before the build. Outside of a sandbox it
// logs that hooks get no credential for the repository.
func (j *job) checkHooks(hooks buildhooks.Hooks) error {
	if j.spec.HooksOff != "" {
		return failed(reasonHook, fmt.Errorf("%s, and build hooks are off (%s)", hasHook(hooks), j.spec.HooksOff))
	}
	if !j.o.Settings.Hooks {
		// Without its hooks, the build would make a different image.
		return failed(reasonHook, fmt.Errorf("%s, and build hooks are off on this runner: "+
			"set SLIPWAY_RUNNER_HOOKS=on, or remove the hooks", hasHook(hooks)))
	}
	if j.inSandbox() {
		return nil // hooks fetch and push through the proxies
	}
	j.log.Line("build hooks get no credential for the repository: in a hook, git fetch from a private repository fails")
	if !j.spec.Publish || j.logins.HooksMayPush {
		return nil
	}
	if err := hooks.CheckPush(); err != nil {
		return failed(reasonHook, err)
	}
	return nil
}

// writeHookLogins writes the registry's credentials for hooks that push. It returns the zero value if there
// are no such hooks or if they may not have the credentials.
func (j *job) writeHookLogins(c checkout) (buildhooks.DockerConfig, error) {
	pushing := c.hooks.Pushing()
	if len(pushing) == 0 {
		return buildhooks.DockerConfig{}, nil
	}
	if c.proxies != nil {
		return j.writeHookConfig(c, c.proxies.Logins())
	}
	if !j.logins.HooksMayPush {
		j.log.Line("%s: run without a registry credential (SLIPWAY_PUSH_HOOKS=off)", buildhooks.Files(pushing))
		return buildhooks.DockerConfig{}, nil
	}
	for _, r := range j.logins.Hooks {
		j.log.Line(
			"%s: run with the credential of %s, so everyone who can push to this repository "+
				"can replace every image that the credential can push; SLIPWAY_PUSH_HOOKS=off turns this off",
			buildhooks.Files(pushing),
			r.Host,
		)
	}
	return j.writeHookConfig(c, j.logins.Hooks)
}

// writeHookConfig writes a Docker configuration that hooks can read.
func (j *job) writeHookConfig(c checkout, all []spec.RegistryCredential) (buildhooks.DockerConfig, error) {
	dir, err := j.makeHookDir("docker")
	if err != nil {
		return buildhooks.DockerConfig{}, err
	}
	written, err := buildhooks.WriteDockerConfig(dir, all)
	if err != nil {
		return written, err
	}
	return written, c.runner.Share(dir)
}

// runHooks runs those of the named hooks that the repository has. Hooks that push get hookLogins.
func (j *job) runHooks(
	ctx context.Context,
	c checkout,
	hookLogins buildhooks.DockerConfig,
	names ...buildhooks.Name,
) error {
	for _, name := range names {
		if !c.hooks.Has(name) {
			continue
		}
		base := buildhooks.Base{Path: env.ToMap(j.o.Environ)["PATH"], Home: c.hookHome, Temp: c.temp}
		if c.proxies != nil {
			base.Trust = c.proxies.Environment()
		}
		if slices.Contains(c.hooks.Pushing(), name) {
			base.DockerConfig = hookLogins
		}
		environ, err := buildhooks.Environment(j.spec, base)
		if err != nil {
			return failed(reasonConfig, err)
		}
		j.log.Line("hooks/%s", name)
		err = c.hooks.Run(ctx, name, c.runner, buildhooks.Execution{Environ: environ, Output: j.log, Grace: j.o.Grace})
		if err != nil {
			return err
		}
		if err := c.checkRoot(name); err != nil {
			return failed(reasonHook, err)
		}
	}
	return nil
}

// checkRoot returns an error if a hook replaced the directory of the tree. The runner would follow a link
// there to files that the hook cannot read. No process of a hook runs any more, so the result stays valid.
func (c checkout) checkRoot(after buildhooks.Name) error {
	now, err := os.Lstat(c.tree.Dir)
	if err == nil && os.SameFile(now, c.root) {
		return nil
	}
	return fmt.Errorf(
		"build hook hooks/%s moved or replaced the directory of the checkout: keep it, and change its files",
		after,
	)
}
