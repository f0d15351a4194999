package runner

import (
	"context"
	"fmt"
	"strings"
)

// plan says what the step would do, and does none of it: it asks no registry, no builder and no
// Bitbucket.
func (r *standalone) plan(ctx context.Context) error {
	if _, err := r.imageRequest(); err != nil {
		return err
	}
	if r.s.Copy.On {
		r.log.line("\nwould copy %s", r.s.Copy.Source())
	} else {
		r.log.line("\nwould build %s", r.s.Image())
		r.log.line("would %s", r.builderPlan(ctx))
	}
	r.would()
	status := "report no status to Bitbucket"
	switch err := r.openStatus(); {
	case err != nil:
		status += ": " + err.Error()
	case r.status.reporter != nil:
		status = fmt.Sprintf(
			"report the status of %s/%s@%s at %s",
			r.status.place.Owner,
			r.status.place.Slug,
			r.status.report.Commit[:12],
			r.status.place.API,
		)
	}
	r.log.line("would %s", status)
	return nil
}

// settings shows every setting that has a value, and which variable it came from.
func (r *standalone) settings() {
	r.log.line("\nsettings")
	for _, s := range r.s.Shown() {
		r.log.line(
			"  %-28s %s (%s)",
			strings.ToLower(strings.TrimPrefix(s.Name, "PLUGIN_")),
			firstLine(s.Value),
			s.Origin,
		)
	}
}

// would says what is left to do once the image is built.
func (r *standalone) would() {
	if r.s.DryRun {
		r.log.line("would push nothing: %s is set; without it:", r.s.Origins["PLUGIN_DRY_RUN"])
	}
	if len(r.s.Tags) == 0 {
		r.log.line("would push nothing: there is no tag to push")
	}
	if len(r.s.Tags) > 0 {
		r.wouldSettle()
	}
	if !r.s.Sign.Key.IsZero() && len(r.s.Tags) > 0 {
		r.log.line("would sign it with PLUGIN_COSIGN_PRIVATE_KEY")
	}
	for _, name := range r.names() {
		r.log.line("would push %s", name)
	}
	for _, f := range r.resultFiles() {
		r.log.line("would write %s (%s)", f.path, f.setting)
	}
}
