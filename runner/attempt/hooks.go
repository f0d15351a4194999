package attempt

import (
	"context"
	"fmt"
	"slices"

	"github.com/caarlos0/env/v11"

	"slipway/runner/buildhooks"
)

// checkHooks fails a build whose hooks cannot do their work here, before the build. It logs that hooks
// get no credential for the repository.
func (j *job) checkHooks(hooks buildhooks.Hooks) error {
	present := hooks.Present()
	if len(present) == 0 {
		return nil
	}
	if !j.o.Settings.Hooks {
		// Without its hooks the image would be another than the repository means.
		return failed(reasonHook, fmt.Errorf(
			"the repository has the build hook hooks/%s, and build hooks are off on this runner (SLIPWAY_RUNNER_HOOKS=off): "+
				"the embedded engine can isolate them only if the gateway runs as root",
			present[0],
		))
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
func (j *job) writeHookLogins(hooks buildhooks.Hooks) (buildhooks.DockerConfig, error) {
	pushing := hooks.Pushing()
	if len(pushing) == 0 {
		return buildhooks.DockerConfig{}, nil
	}
	if !j.logins.HooksMayPush {
		j.log.Line("%s: run without a registry credential (SLIPWAY_PUSH_HOOKS=off)", buildhooks.Files(pushing))
		return buildhooks.DockerConfig{}, nil
	}
	for _, r := range j.logins.Hooks {
		j.log.Line(
			"%s: get the credential of %s, so everyone who can push to this repository "+
				"can replace every image that the credential can push",
			buildhooks.Files(pushing),
			r.Host,
		)
	}
	dir, err := j.makeDir("docker")
	if err != nil {
		return buildhooks.DockerConfig{}, err
	}
	return buildhooks.WriteDockerConfig(dir, j.logins.Hooks)
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
		base := buildhooks.Base{Path: env.ToMap(j.o.Environ)["PATH"], Home: c.home}
		if slices.Contains(c.hooks.Pushing(), name) {
			base.DockerConfig = hookLogins
		}
		environ, err := buildhooks.Environment(j.spec, base)
		if err != nil {
			return failed(reasonConfig, err)
		}
		j.log.Line("hooks/%s", name)
		err = c.hooks.Run(ctx, name, j.hookExecutor(), buildhooks.Execution{Environ: environ, Output: j.log, Grace: j.o.Grace})
		if err != nil {
			return err
		}
	}
	return nil
}

// hookExecutor returns the executor of build hooks.
func (j *job) hookExecutor() buildhooks.Executor { return buildhooks.Process{} }
