package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"slipway/config/secret"
	"slipway/runner/buildhooks"
	"slipway/runner/logins"
	"slipway/runner/registry"
	"slipway/runner/report"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// A job is one attempt under way.
type job struct {
	o        Options
	spec     spec.Spec
	client   *report.Client
	registry *registry.Client
	session  *report.Session
	log      logger
	redactor *secret.Redactor // masks results; the session masks the log
	dir      string

	tree    source.Tree
	hooks   buildhooks.Hooks
	builder Builder
	image   Image
	logins  logins.Logins

	stopBuilder func() // ends the builder that was started for this step; nil = none was

	tags []spec.TagResult
	home string // HOME of git and of build hooks

	dockerConfig buildhooks.DockerConfig // of hooks that push; zero = none of them is there
	request      ImageRequest            // of the build by the Dockerfile
}

// do is the order of the step, which is Docker Hub's.
func (j *job) do(ctx context.Context) error {
	j.log.header(j.spec)
	if done, err := j.pushedBefore(ctx); done || err != nil {
		return err
	}
	if err := j.o.step("fetch", func() error { return j.fetch(ctx) }); err != nil {
		return err
	}
	defer j.hangUp()
	if err := j.build(ctx); err != nil {
		return err
	}
	if err := j.test(ctx); err != nil {
		return err
	}
	if !j.spec.Publish {
		return nil
	}
	if err := j.askPermit(ctx); err != nil {
		return err
	}
	return j.push(ctx)
}

// pushedBefore reports whether an earlier attempt, whose end nobody heard, pushed every tag.
func (j *job) pushedBefore(ctx context.Context) (bool, error) {
	if j.spec.BuiltDigest == "" || !j.spec.Publish {
		return false, nil
	}
	tags := make([]spec.TagResult, 0, len(j.spec.Tags))
	for _, tag := range j.spec.Tags {
		digest, err := j.digestOf(ctx, tag)
		if err != nil || digest != j.spec.BuiltDigest {
			return false, err
		}
		tags = append(tags, spec.TagResult{Tag: tag})
	}
	j.log.line("an earlier attempt has pushed every tag at %s already", j.spec.BuiltDigest)
	j.image.Digest, j.tags = j.spec.BuiltDigest, tags
	return true, j.session.Built(ctx, j.image.Digest)
}

// fetch gets the commit, and finds the build hooks that come with it.
func (j *job) fetch(ctx context.Context) error {
	return j.during(spec.StageFetch, func() (string, error) {
		home, err := j.emptyDir("home")
		if err != nil {
			return "", err
		}
		j.home = home
		address, err := j.o.Settings.GitProxy()
		if err != nil {
			return "", err
		}
		proxy := source.Proxy{URL: address, Token: j.o.Settings.Token}
		how := source.Options{
			Dir: filepath.Join(
				j.dir,
				"src",
			),
			Home:       home,
			Environ:    j.o.Environ,
			Log:        j.log,
			Backoff:    newBackoff(j.o.Backoff),
			SSHKey:     j.spec.Environment["SSH_PRIVATE"],
			KnownHosts: j.spec.Environment["SSH_KNOWN_HOSTS"].Reveal(),
		}
		if j.tree, err = source.Fetch(ctx, j.spec.Source, proxy, how); err != nil {
			return "", err
		}
		j.log.line("%s is at commit %s", j.spec.Repository, j.tree.Commit)
		if err := source.Submodules(ctx, j.spec.Source, proxy, j.tree, how); err != nil {
			return "", err
		}
		if j.hooks, err = buildhooks.Find(j.tree, j.spec.Dockerfile); err != nil {
			return "", err
		}
		if err := j.hooksMayRun(); err != nil {
			return "", err
		}
		if len(j.hooks.Present()) > 0 {
			j.log.line("build hooks get no credential for the repository: git fetch from a private one fails in them")
		}
		if err := j.checkPushHooks(); err != nil {
			return "", err
		}
		return "", j.hook(ctx, buildhooks.PostCheckout)
	})
}

// test runs the hooks of the test phase. Without them there is nothing to test.
func (j *job) test(ctx context.Context) error {
	phase := []buildhooks.Name{buildhooks.PreTest, buildhooks.Test, buildhooks.PostTest}
	if !slices.ContainsFunc(phase, j.hooks.Has) {
		return nil
	}
	return j.during(spec.StageTest, func() (string, error) { return "", j.hook(ctx, phase...) })
}

// askPermit makes sure that no newer build of the ref has or had the tags.
func (j *job) askPermit(ctx context.Context) error {
	var reply spec.PermitReply
	err := j.o.step("permit", func() (err error) {
		reply, err = j.client.Permit(ctx, j.image.Digest, j.spec.Tags)
		return err
	})
	if err != nil {
		return err
	}
	if !reply.Granted {
		return &fault{state: spec.Cancelled, reason: reasonSuperseded, err: errors.New(reply.Reason)}
	}
	return nil
}

// during runs a stage between its two events; work returns a few words on how it went.
func (j *job) during(stage string, work func() (detail string, err error)) error {
	started := j.o.Now()
	j.session.StageStarted(stage)
	j.log.stage(stage)
	detail, err := work()
	if err != nil {
		j.session.StageFinished(stage, "did not succeed")
		return err
	}
	j.session.StageFinished(stage, detail)
	j.log.stageEnd(stage, detail, j.o.Now().Sub(started))
	return nil
}

func (j *job) emptyDir(name string) (string, error) {
	dir := filepath.Join(j.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory %s: %w", name, err)
	}
	return dir, nil
}

// hangUp leaves the builder.
func (j *job) hangUp() {
	if j.builder != nil {
		_ = j.builder.Close() // what it built is pushed by now, or is not wanted
	}
	if j.stopBuilder != nil {
		j.stopBuilder()
	}
}

// digestOf reads where a tag points; empty = the registry has no such tag.
func (j *job) digestOf(ctx context.Context, tag string) (string, error) {
	digest, err := j.registry.Digest(ctx, j.spec.Image, tag, j.logins.ForImage())
	if errors.Is(err, registry.ErrNotFound) {
		return "", nil
	}
	return digest, err
}
