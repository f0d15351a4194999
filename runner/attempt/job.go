package attempt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"slipway/config/secret"
	"slipway/runner/buildhooks"
	"slipway/runner/buildkit"
	"slipway/runner/buildlog"
	"slipway/runner/hookproxy"
	"slipway/runner/logins"
	"slipway/runner/publish"
	"slipway/runner/registry"
	"slipway/runner/report"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// A job is an attempt with everything that does not change while it runs.
type job struct {
	o        Options
	spec     spec.Spec
	client   *report.Client
	registry *registry.Client
	guard    registry.Guard // checks requests to registries; nil = no check
	session  *report.Session
	log      buildlog.Log
	redactor *secret.Redactor // masks the result; the session masks the log
	dir      string           // directory of the attempt alone
	shared   string           // directory for files that build hooks see: dir, or the workspace of the sandbox
	logins   logins.Logins
}

// A checkout is the fetched commit.
type checkout struct {
	tree   source.Tree
	root   fs.FileInfo // the tree's directory before the hooks
	hooks  buildhooks.Hooks
	runner HookRunner // nil = the repository has no hooks
	home   string     // HOME of git
	// proxies serve the hooks in their sandbox; nil = the hooks have none.
	proxies  *hookproxy.Proxies
	hookHome string // HOME of build hooks
	temp     string // TMPDIR of build hooks
}

// close ends the servers of the hooks.
func (c checkout) close() {
	if c.proxies != nil {
		c.proxies.Close()
	}
}

// A built is the result of the build stage.
type built struct {
	image   buildkit.Image
	request buildkit.Request // the request of the build by the Dockerfile; zero = hooks/build made the image
	// hookLogins are the registry's credentials that were given to hooks/build; zero = none were.
	hookLogins buildhooks.DockerConfig
}

// An outcome is the result of an attempt so far, with or without an error.
type outcome struct {
	image buildkit.Image
	tags  []spec.TagResult
	// extraTags are the tags that hooks pushed besides the build's.
	extraTags []spec.TagResult
}

// buildAndPush runs the stages of an attempt in Docker Hub's order, each with its build hooks:
//
//   - fetch: the commit and its submodules, hook post_checkout;
//   - build: hooks pre_build, build (in place of the Dockerfile) and post_build;
//   - test: hooks pre_test, test and post_test;
//   - permit: the gateway refuses it if a newer build of the ref got a permit for a tag;
//   - push: hook pre_push, the upload, hook push (in place of moving the tags) and hook post_push.
//
// Each move of a tag requests the permit again (moveTags). A hooks/build that must push requests it
// before the build (buildByHook). The outcome is valid also with an error.
func (j *job) buildAndPush(ctx context.Context) (done outcome, err error) {
	j.logHeader()
	if done, ok, err := j.findPushed(ctx); ok || err != nil {
		return done, err
	}
	var c checkout
	defer func() {
		c.close()
		done.extraTags = j.extraTags(c)
	}()
	err = j.o.atFailpoint("fetch", func() (err error) {
		c, err = j.fetch(ctx)
		return err
	})
	if err != nil {
		return outcome{}, err
	}
	builder := &builderConnection{job: j}
	defer builder.close()
	b, err := j.build(ctx, c, builder)
	done = outcome{image: b.image}
	if err != nil {
		return done, err
	}
	if err := j.test(ctx, c); err != nil {
		return done, err
	}
	if !j.spec.Publish {
		return done, nil
	}
	if err := j.askPermit(ctx, b.image.Digest); err != nil {
		return done, err
	}
	return j.push(ctx, c, b, builder)
}

// findPushed reports whether an earlier attempt, whose end the gateway did not receive, pushed every tag.
// If a tag is missing or elsewhere, this attempt builds and moves every tag.
func (j *job) findPushed(ctx context.Context) (outcome, bool, error) {
	if j.spec.BuiltDigest == "" || !j.spec.Publish {
		return outcome{}, false, nil
	}
	tags := make([]spec.TagResult, 0, len(j.spec.Tags))
	for _, tag := range j.spec.Tags {
		digest, err := j.digestOf(ctx, tag)
		if err != nil || digest != j.spec.BuiltDigest {
			return outcome{}, false, err
		}
		tags = append(tags, spec.TagResult{Tag: tag})
	}
	j.log.Line("an earlier attempt has pushed every tag at %s already", j.spec.BuiltDigest)
	done := outcome{image: buildkit.Image{Digest: j.spec.BuiltDigest}, tags: tags}
	return done, true, j.session.Built(ctx, done.image.Digest)
}

// fetch gets the commit, and the build hooks that come with it.
func (j *job) fetch(ctx context.Context) (c checkout, err error) {
	err = j.runStage(spec.StageFetch, func() (string, error) {
		if c.home, err = j.makeDir("home"); err != nil {
			return "", err
		}
		if c.tree, err = j.fetchCommit(ctx, c.home); err != nil {
			return "", err
		}
		if c.root, err = os.Lstat(c.tree.Dir); err != nil {
			return "", err
		}
		if c.hooks, err = buildhooks.Find(c.tree, j.spec.Dockerfile); err != nil {
			return "", err
		}
		if err := j.checkTests(c); err != nil {
			return "", err
		}
		if err := j.prepareHooks(ctx, &c); err != nil {
			return "", err
		}
		return "", j.runHooks(ctx, c, buildhooks.DockerConfig{}, buildhooks.PostCheckout)
	})
	return c, err
}

// fetchCommit gets the commit and its submodules through the gateway's git proxy.
func (j *job) fetchCommit(ctx context.Context, home string) (source.Tree, error) {
	address, err := j.o.Settings.GitProxy()
	if err != nil {
		return source.Tree{}, err
	}
	proxy := source.Proxy{URL: address, Token: j.o.Settings.Token}
	options := source.Options{
		Dir:        filepath.Join(j.shared, "src"),
		Home:       home,
		Environ:    j.o.Environ,
		Log:        j.log,
		Backoff:    publish.NewBackoff(j.o.Backoff),
		Policy:     j.o.Settings.Networks,
		SSHKey:     j.spec.Environment["SSH_PRIVATE"],
		KnownHosts: j.spec.Environment["SSH_KNOWN_HOSTS"].Reveal(),
	}
	tree, err := source.Fetch(ctx, j.spec.Source, proxy, options)
	if err != nil {
		return tree, err
	}
	j.log.Line("%s is at commit %s", j.spec.Repository, tree.Commit)
	return tree, source.Submodules(ctx, j.spec.Source, proxy, tree, options)
}

// test runs the hooks of the test phase. Without them there is no test stage.
func (j *job) test(ctx context.Context, c checkout) error {
	phase := []buildhooks.Name{buildhooks.PreTest, buildhooks.Test, buildhooks.PostTest}
	if !slices.ContainsFunc(phase, c.hooks.Has) {
		return nil
	}
	return j.runStage(spec.StageTest, func() (string, error) {
		return "", j.runHooks(ctx, c, buildhooks.DockerConfig{}, phase...)
	})
}

// askPermit requests the permit for the tags. The gateway refuses it if a newer build of the ref got a permit
// for one of them. digest is empty if the image is not built yet.
func (j *job) askPermit(ctx context.Context, digest string) error {
	var reply spec.PermitReply
	err := j.o.atFailpoint("permit", func() (err error) {
		reply, err = j.client.Permit(ctx, digest, j.spec.Tags)
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

// runStage runs a stage between its two events. The stage returns a short note on its result.
func (j *job) runStage(name string, stage func() (detail string, err error)) error {
	started := j.o.Now()
	j.session.StageStarted(name)
	j.log.StartStage(name)
	detail, err := stage()
	if err != nil {
		j.session.StageFinished(name, "did not succeed")
		return err
	}
	j.session.StageFinished(name, detail)
	j.log.EndStage(name, detail, j.o.Now().Sub(started))
	return nil
}

// makeHookDir makes a directory of the attempt that hooks see. Its name is not known in advance, because
// hooks that ran before may write to the directory above.
func (j *job) makeHookDir(name string) (string, error) {
	dir, err := os.MkdirTemp(j.shared, name+"-")
	if err != nil {
		return "", fmt.Errorf("make directory %s for build hooks: %w", name, err)
	}
	return dir, nil
}

// makeDir makes a directory inside the attempt's directory.
func (j *job) makeDir(name string) (string, error) {
	dir := filepath.Join(j.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory %s: %w", name, err)
	}
	return dir, nil
}

// digestOf returns the digest that a tag points at; empty = the registry has no such tag.
func (j *job) digestOf(ctx context.Context, tag string) (string, error) {
	return publish.Digest(ctx, j.registry, j.tag(tag))
}

func (j *job) tag(name string) publish.Tag {
	return publish.Tag{Image: j.spec.Image, Name: name, Login: j.logins.ForImage()}
}
