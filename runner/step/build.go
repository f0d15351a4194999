package step

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/caarlos0/env/v11"

	"slipway/config/text"
	"slipway/runner/buildkit"
	"slipway/runner/commitstatus"
	"slipway/runner/publish"
	"slipway/runner/sandbox"
	"slipway/runner/settings"
)

// buildFlow builds the workspace's Dockerfile and pushes the image.
func (r run) buildFlow() flow {
	s := r.s
	return flow{
		header: []row{
			{"Dockerfile", s.Dockerfile, "PLUGIN_DOCKERFILE"},
			{"context", s.Context, "PLUGIN_CONTEXT"},
			{"target", s.Target, "PLUGIN_TARGET"},
			{"platforms", strings.Join(s.Platforms, ", "), "PLUGIN_PLATFORMS"},
			{"builder", s.Builder, "PLUGIN_BUILDER"},
		},
		details: buildDetails(s.Build, s.Origins["PLUGIN_OUTPUT"]),
		verb:    "Builds ",
		subject: commitstatus.Subject{Image: s.Image(), Dockerfile: s.Dockerfile, Context: s.Context, Target: s.Target},
		plan:    r.planBuild,
		publish: r.buildAndPush,
	}
}

// buildAndPush runs the stages of a step that builds. All checks that need no network come first. The
// logins are checked at the registries while the builder starts and builds.
func (r run) buildAndPush(ctx context.Context) (outcome, error) {
	started := r.o.Now()
	request, err := r.buildRequest(r.buildArgs(ctx))
	if err != nil {
		return outcome{}, err
	}
	key, r, err := r.prepare(ctx)
	if err != nil {
		return outcome{}, err
	}
	request.Registries = r.s.Registries()
	r.noteUnusedFiles(ctx, request)
	checks := startPreflight(ctx, r.checkLogins, r.checkImages)
	defer checks.Cancel()
	builder, closeBuilder, err := r.openBuilder(ctx, request)
	if err != nil {
		return outcome{}, err
	}
	closeBuilder = sync.OnceFunc(closeBuilder)
	defer closeBuilder()
	if err := checks.WaitLogins(); err != nil {
		return outcome{}, err
	}
	var image buildkit.Image
	buildTime, err := r.log.Run("build", func() error {
		return checks.Run(ctx, func(ctx context.Context) (pushed bool, err error) {
			image, err = r.build(ctx, builder, request)
			return r.isPushed(image), err
		})
	})
	if err != nil {
		return outcome{}, err
	}
	sender := &buildSender{run: r, builder: builder, request: request, image: image}
	done, err := r.push(ctx, key, sender)
	if err != nil {
		return outcome{}, err
	}
	done.image = sender.image
	done.stages = append([]stage{{"build", buildTime}}, done.stages...)
	if done.image.Steps > 0 { // a check has none
		done.cached = fmt.Sprintf("%d of %d steps", done.image.Cached, done.image.Steps)
	}
	r.afterPush("hints", func() error {
		done.hints = r.findHints(request.Dockerfile, done.image.Ran)
		return nil
	})
	if r.s.Builder == "" { // its cache is deleted, which may take as long as a short build
		closing := r.o.Now()
		r.afterPush("end of the builder", func() error { closeBuilder(); return nil })
		done.stages = append(done.stages, stage{"cleanup", r.since(closing)})
	}
	done.total = r.since(started)
	return done, r.leaveFiles(done)
}

// build builds the image.
func (r run) build(ctx context.Context, b publish.Builder, request buildkit.Request) (buildkit.Image, error) {
	image, err := publish.Build(ctx, b, request, r.log)
	if r.s.Builder == "" {
		publish.ExplainKilled(err)
	}
	if err != nil {
		return buildkit.Image{}, fmt.Errorf("build of %s: %w", r.s.Dockerfile, r.explainBuildError(ctx, err))
	}
	return image, nil
}

// isPushed reports whether the image is already in its only repository. Only a push by the step's own
// builder counts, because that builder reaches the same registry as the step.
func (r run) isPushed(image buildkit.Image) bool {
	return image.Pushed && r.s.Builder == "" && len(r.s.Images) == 1
}

// openBuilder connects to the builder that a setting names, or starts one.
func (r run) openBuilder(
	ctx context.Context,
	request buildkit.Request,
) (b publish.Builder, closeBuilder func(), err error) {
	address, stop := r.s.Builder, func() {}
	if address == "" {
		if address, stop, err = sandbox.StartLocal(ctx, r.localBuilder(request)); err != nil {
			return nil, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sandbox.DialTimeout)
	defer cancel()
	if b, err = r.o.Dial(ctx, address, r.s.BuilderTLS); err != nil {
		stop()
		return nil, nil, fmt.Errorf(
			"%w; check %s, or leave it out to start a builder here",
			err,
			r.s.Origins["PLUGIN_BUILDER"],
		)
	}
	closeBuilder = func() {
		_ = b.Close() // the image has been pushed, or is not needed
		stop()
	}
	if r.s.Log.Quiet {
		return quietBuilder{b}, closeBuilder, nil
	}
	return b, closeBuilder, nil
}

// localBuilder configures the builder that the step starts.
func (r run) localBuilder(request buildkit.Request) sandbox.LocalBuilder {
	return sandbox.LocalBuilder{
		Registries: r.s.Registries(),
		Cache:      sandbox.LocalCache{Off: r.s.State.Off, Dir: r.s.State.Dir, Origin: r.s.Origins["PLUGIN_STATE"]},
		Environ:    r.o.Environ,
		Output:     r.log,
		Program:    r.o.BuilderProgram,
		Context:    request.Context,
	}
}

// localBuilderEnviron returns the variables of `slipway builder` that hold the step's settings for it.
func localBuilderEnviron(own settings.LocalBuilder) (lines []string) {
	for _, row := range []struct {
		name   string
		values []string
	}{
		{"SLIPWAY_BUILDER_MIRRORS", own.Mirrors},
		{"SLIPWAY_BUILDER_DNS", own.DNS},
		{"SLIPWAY_BUILDER_DNS_SEARCH", own.DNSSearch},
	} {
		if len(row.values) > 0 {
			lines = append(lines, row.name+"="+strings.Join(row.values, ","))
		}
	}
	return lines
}

// noSpace is the kernel's error text for a full disk. BuildKit's errors have no type for it.
const noSpace = "no space left on device"

// notGranted is a part of BuildKit's error for a right that the builder does not grant.
const notGranted = "is not allowed by build daemon configuration"

// explainBuildError adds the fix to a build that failed for other reasons than its Dockerfile.
func (r run) explainBuildError(ctx context.Context, err error) error {
	var failed *buildkit.BuildError
	switch {
	case errors.As(err, &failed) && failed.Right != "":
		return fmt.Errorf("%w, or %s", err, r.rightsFix(failed.Right))
	case buildkit.CommandFailed(err):
		return err
	case strings.Contains(err.Error(), notGranted):
		return fmt.Errorf("%w; start that BuildKit with --allow-insecure-entitlement, or remove %s "+
			"(`slipway builder` grants no rights, because its RUN steps are isolated)", err, r.s.Origins["PLUGIN_ALLOW"])
	case !strings.Contains(err.Error(), noSpace):
		return r.explainBuildRequest(ctx, err)
	case r.s.Builder != "":
		return fmt.Errorf(
			"%w; the disk of the builder at %s is full: free space there, "+
				"or limit its cache (`slipway builder --cache-size`)",
			err,
			r.s.Builder,
		)
	}
	return fmt.Errorf(
		"%w; the disk of the step's own builder is full: free space below TMPDIR (%s), "+
			"set a volume for its cache (setting state, PLUGIN_STATE), or use a builder elsewhere (setting builder, PLUGIN_BUILDER)",
		err,
		cmp.Or(env.ToMap(r.o.Environ)["TMPDIR"], "/tmp"),
	)
}

// rightsFix returns the change of settings that gives a build a right.
func (r run) rightsFix(right string) string {
	fix := fmt.Sprintf("add %s to allow (PLUGIN_ALLOW)", right)
	if r.s.Builder == "" {
		fix += ", and set PLUGIN_BUILDER to a BuildKit that grants it (the step's own builder grants no rights)"
	}
	return fix
}

// quietLimit bounds the lines of a failed build that the log shows, in bytes.
const quietLimit = 64 << 10

// A quietBuilder shows the lines of a build in the log only if it failed: the last ones, which hold
// the reason.
type quietBuilder struct{ publish.Builder }

func (q quietBuilder) Build(ctx context.Context, r buildkit.Request) (buildkit.Image, error) {
	log, last := r.Progress, &text.LastLines{Limit: quietLimit}
	r.Progress = last
	image, err := q.Builder.Build(ctx, r)
	if err != nil {
		_, _ = log.Write(last.Bytes()) // a log that cannot be written must not fail the build
	}
	return image, err
}
