package step

import (
	"context"
	"fmt"
	"strings"

	"slipway/config/text"
	"slipway/runner/sandbox"
)

// printPlan logs the actions of the step without doing them: it sends nothing to a registry, a builder
// or Bitbucket.
func (r run) printPlan(ctx context.Context, f flow) error {
	if err := f.plan(ctx); err != nil {
		return err
	}
	r.printPushPlan()
	r.log.Line("would %s", r.statusPlan(f))
	return nil
}

// planBuild logs the plan of a step that builds.
func (r run) planBuild(ctx context.Context) error {
	if _, err := r.buildRequest(r.s.BuildArgs); err != nil {
		return err
	}
	r.log.Line("\nwould build %s", r.s.Image())
	if r.s.Builder != "" {
		r.log.Line("would ask the builder at %s (%s)", r.s.Builder, r.s.Origins["PLUGIN_BUILDER"])
		return nil
	}
	how, err := sandbox.PlanLocal(ctx, r.o.Environ)
	if err != nil {
		r.log.Line("would fail: %v", err)
		return nil
	}
	r.log.Line("would start a builder here, %s", how)
	return nil
}

// planCopy logs the plan of a step that only pushes.
func (r run) planCopy(context.Context) error {
	r.log.Line("\nwould copy %s", r.s.Copy.Source())
	return nil
}

// printPushPlan logs the actions after the build.
func (r run) printPushPlan() {
	if r.s.DryRun {
		r.log.Line("would push nothing: %s is set; without it:", r.s.Origins["PLUGIN_DRY_RUN"])
	}
	if len(r.s.Tags) == 0 {
		r.log.Line("would push nothing: there is no tag to push")
	} else {
		r.printECRPlan()
		if !r.s.Sign.Key.IsZero() {
			r.log.Line("would sign it with PLUGIN_COSIGN_PRIVATE_KEY")
		}
	}
	for _, name := range r.names() {
		r.log.Line("would push %s", name)
	}
	for _, f := range r.resultFiles() {
		r.log.Line("would write %s (%s)", f.path, f.setting)
	}
}

// printECRPlan logs the changes to the repositories at Amazon's registry.
func (r run) printECRPlan() {
	e := r.s.ECR
	var changes []string
	if e.Create {
		changes = append(changes, "create it if it does not exist")
	}
	if e.Scan != nil {
		changes = append(changes, fmt.Sprintf("scan on push: %t", *e.Scan))
	}
	if e.Lifecycle != "" {
		changes = append(changes, "lifecycle policy "+e.Lifecycle)
	}
	if e.Policy != "" {
		changes = append(changes, "access policy "+e.Policy)
	}
	if changes == nil {
		return
	}
	for _, name := range e.Repositories {
		r.log.Line("would configure the repository %s: %s", name, strings.Join(changes, ", "))
	}
}

// statusPlan describes the report to Bitbucket.
func (r run) statusPlan(f flow) string {
	t, err := r.statusTarget(f.subject)
	switch {
	case err != nil:
		return "report no status to Bitbucket: " + err.Error()
	case t.reporter == nil:
		return "report no status to Bitbucket"
	}
	commit := text.Short(t.report.Commit)
	return fmt.Sprintf("report the status of %s/%s@%s at %s", t.place.Owner, t.place.Slug, commit, t.place.API)
}
