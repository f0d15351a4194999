package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"

	"github.com/containerd/platforms"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// explain converts the error of a solve to ctx's cause, a *BuildError, or an error of the infrastructure. err may be
// nil if the builder did not get a file.
func (c *Client) explain(ctx context.Context, r Request, err error, sent dirs, out *progress) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// The builder's error is only about the transfer, or about its end.
	if unread := sent.unread(); unread != nil {
		if errors.Is(unread, fs.ErrPermission) {
			return &BuildError{Err: unread}
		}
		return fmt.Errorf("build: %w", unread)
	}
	err = r.withReason(classify(ctx, err, out.failedStep()), out.runcError())
	var failed *BuildError
	if errors.As(err, &failed) && failed.ExitCode != 0 && out.failedOnProcessor() {
		failed.Reason = explainExecFormat(stepPlatforms(failed.Step, r.Platforms), c.platforms(ctx))
	}
	return err
}

// platforms returns the platforms that the builder can run; nil = unknown.
func (c *Client) platforms(ctx context.Context) (all []ocispecs.Platform) {
	workers, err := c.bk.ListWorkers(ctx)
	if err != nil {
		return nil
	}
	for _, w := range workers {
		all = append(all, w.Platforms...)
	}
	return all
}

// stepPlatformName matches the platform in the name of a step, for example "[linux/arm64 build 2/5] RUN make" or
// "[linux/amd64->arm64 build 2/5] RUN make" in a stage for the builder's platform. BuildKit adds it if the build has
// several platforms.
var stepPlatformName = regexp.MustCompile(`^\[([a-z0-9]+/[a-z0-9/.]+)(?:->[a-z0-9/.]+)? .*\d+/\d+\] `)

// stepPlatforms returns the platform of a step, or all requested ones if the name of the step has none: the steps of a
// stage from scratch have none. No platform means the builder's own.
func stepPlatforms(step string, requested []string) []string {
	if m := stepPlatformName.FindStringSubmatch(step); m != nil {
		return []string{m[1]}
	}
	return requested
}

// explainExecFormat returns cause and fix for a RUN step that started a program of another processor. wanted are the
// platforms that the step may be for, and runs are the platforms that the builder can run.
func explainExecFormat(wanted []string, runs []ocispecs.Platform) string {
	for _, name := range wanted {
		platform, err := platforms.Parse(name)
		isRun := func(p ocispecs.Platform) bool { return platforms.Only(p).Match(platform) }
		if err != nil || slices.ContainsFunc(runs, isRun) {
			continue
		}
		return fmt.Sprintf(
			"RUN for %s needs emulation, which the builder's machine does not have (exec format error): "+
				"install it there, for example with `docker run --privileged --rm tonistiigi/binfmt --install %s` "+
				"or Debian's package qemu-user-static, use a builder on %s, or remove %s from platforms",
			name,
			platform.Architecture,
			name,
			name,
		)
	}
	own := ""
	if len(wanted) == 1 {
		own = " " + wanted[0]
	}
	return "RUN started a program that is for another processor than the step's platform" + own +
		" (exec format error): check the platform of the base image and of the programs that the Dockerfile copies"
}
