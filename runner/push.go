package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/runner/buildhooks"
	"slipway/runner/spec"
)

// push publishes: the image by its digest first, then each tag, so that no tag ever points
// at what is not there.
func (j *job) push(ctx context.Context) error {
	return j.during(spec.StagePush, func() (string, error) {
		if err := j.giveCredentials(); err != nil {
			return "", err
		}
		if err := j.hook(ctx, buildhooks.PrePush); err != nil {
			return "", err
		}
		if err := j.o.step("upload", func() error { return j.upload(ctx) }); err != nil {
			return "", err
		}
		move := j.moveTags
		if j.hooks.Has(buildhooks.Push) {
			move = j.pushByHook
		}
		if err := move(ctx); err != nil {
			return "", err
		}
		return tagsDetail(j.tags), j.hook(ctx, buildhooks.PostPush)
	})
}

// upload sends what the builder made. What hooks/build made is where that put it.
func (j *job) upload(ctx context.Context) error {
	if j.builder == nil {
		return nil
	}
	request := j.request
	request.Registries = j.logins.Push
	return j.builder.Push(ctx, request, j.image.Digest)
}

// moveTags points every tag at the image. One that fails does not keep the others back. The
// permit is asked for again before each try: since the last answer an upload or earlier tries
// may have taken minutes, in which a newer build moved the tag.
func (j *job) moveTags(ctx context.Context) error {
	var refused error
	registry := j.registry.WithPermit(func(ctx context.Context) error {
		refused = j.askPermit(ctx)
		return refused
	})
	var problems []error
	for _, tag := range j.spec.Tags {
		err := j.o.step("push tag "+tag, func() error {
			return registry.Tag(ctx, j.spec.Image, j.image.manifest(), tag, j.logins.ForImage())
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if refused != nil {
			return refused
		}
		result := spec.TagResult{Tag: tag}
		if err != nil {
			result.Error = oneLine(masked(j.redactor, err))
			problems = append(problems, err)
			j.log.line("tag %s was not pushed: %v", tag, err)
		} else {
			j.log.line("pushed %s:%s", j.spec.Image, tag)
		}
		j.tags = append(j.tags, result)
	}
	if len(problems) > 0 {
		return fmt.Errorf(
			"%d of %d tags were not pushed: %w",
			len(problems),
			len(j.spec.Tags),
			errors.Join(problems...),
		)
	}
	return nil
}

// pushByHook runs the repository's hooks/push and then looks which tags are there: what it
// pushes is its own affair, as at Docker Hub.
func (j *job) pushByHook(ctx context.Context) error {
	if err := j.askPermit(ctx); err != nil { // again: the upload may have taken long
		return err
	}
	if err := j.hook(ctx, buildhooks.Push); err != nil {
		return err
	}
	for _, tag := range j.spec.Tags {
		digest, err := j.digestOf(ctx, tag)
		if err != nil {
			return err
		}
		if digest == "" {
			j.log.line("hooks/push left no tag %s", tag)
			continue
		}
		j.tags = append(j.tags, spec.TagResult{Tag: tag})
		if j.image.Digest == "" {
			j.image.Digest = digest
		}
	}
	return nil
}

// giveCredentials writes the registry's credentials for hooks that push, if there are such hooks and
// they may have them.
func (j *job) giveCredentials() (err error) {
	pushing := j.hooks.Pushing()
	if len(pushing) == 0 || j.dockerConfig.Dir != "" {
		return nil
	}
	if !j.logins.HooksMayPush {
		j.log.line("%s: run without a registry credential (SLIPWAY_PUSH_HOOKS=off)", buildhooks.Files(pushing))
		return nil
	}
	for _, r := range j.logins.Hooks {
		j.log.line(
			"%s: get the credential of %s, so everyone who can push to this repository can replace every image that it opens",
			buildhooks.Files(pushing),
			r.Host,
		)
	}
	dir, err := j.emptyDir("docker")
	if err != nil {
		return err
	}
	j.dockerConfig, err = buildhooks.WriteDockerConfig(dir, j.logins.Hooks)
	return err
}

// hook runs the hooks of these names that are there.
func (j *job) hook(ctx context.Context, names ...buildhooks.Name) error {
	for _, name := range names {
		if !j.hooks.Has(name) {
			continue
		}
		base := buildhooks.Base{Path: variable(j.o.Environ, "PATH"), Home: j.home}
		if slices.Contains(j.hooks.Pushing(), name) {
			base.DockerConfig = j.dockerConfig
		}
		environ, err := buildhooks.Environment(j.spec, base)
		if err != nil {
			return failed(reasonConfig, err)
		}
		j.log.line("hooks/%s", name)
		err = j.hooks.Run(ctx, name, buildhooks.Execution{Environ: environ, Output: j.log, Grace: j.o.Grace})
		if err != nil {
			return err
		}
	}
	return nil
}

// hooksMayRun fails a build whose hooks may not run here: without them it would be another
// image than the repository means.
func (j *job) hooksMayRun() error {
	present := j.hooks.Present()
	if j.o.Settings.Hooks || len(present) == 0 {
		return nil
	}
	return failed(
		reasonHook,
		fmt.Errorf(
			"the repository has the build hook hooks/%s, and build hooks are off on this runner (SLIPWAY_RUNNER_HOOKS=off): "+
				"the embedded engine can confine them only where the gateway runs as root",
			present[0],
		),
	)
}

// checkPushHooks fails a build whose own hooks have to push and get no credential, before the time
// for a build is spent.
func (j *job) checkPushHooks() error {
	if !j.spec.Publish || j.logins.HooksMayPush {
		return nil
	}
	if err := j.hooks.CheckPush(); err != nil {
		return failed(reasonHook, err)
	}
	return nil
}

func tagsDetail(tags []spec.TagResult) string {
	names := make([]string, len(tags))
	for i, t := range tags {
		names[i] = t.Tag
	}
	return strings.Join(names, ", ")
}

func variable(environ []string, name string) string {
	for _, line := range environ {
		if value, found := strings.CutPrefix(line, name+"="); found {
			return value
		}
	}
	return ""
}
