package runner

import (
	"strings"
	"time"

	"github.com/docker/go-units"
)

// header says what is built from what, and which settings were set.
func (r *standalone) header() {
	s := r.s
	if s.Copy.On {
		s.Dockerfile, s.Context, s.Target, s.Builder, s.Platforms = "", "", "", "", nil
	}
	r.log.line("Slipway %s, without a gateway", r.o.Version)
	for _, row := range [][3]string{
		{"workspace", s.Workspace, "workspace"},
		{"image", strings.Join(s.Images, ", "), "PLUGIN_REPO"},
		{"tags", strings.Join(s.Tags, ", "), "PLUGIN_TAGS"},
		{"source", s.Copy.Source(), "PLUGIN_SOURCE_IMAGE"},
		{"Dockerfile", s.Dockerfile, "PLUGIN_DOCKERFILE"},
		{"context", s.Context, "PLUGIN_CONTEXT"},
		{"target", s.Target, "PLUGIN_TARGET"},
		{"platforms", strings.Join(s.Platforms, ", "), "PLUGIN_PLATFORMS"},
		{"builder", s.Builder, "PLUGIN_BUILDER"},
	} {
		if row[1] != "" {
			r.log.line("  %-11s %s (%s)", row[0], row[1], s.Origins[row[2]])
		}
	}
	for _, l := range s.Logins {
		if !l.Anonymous() {
			r.log.line("  %-11s %s, by %s", "login", l.Host, l.Origin)
		}
	}
	for _, note := range s.TagNotes {
		r.log.line("tags: %s", note)
	}
	if !s.Copy.On {
		r.options(s.Build)
	}
	for _, warning := range s.Warnings {
		r.log.line("note: %s", warning)
	}
}

// summary is what people look for at the end of a log.
func (r *standalone) summary() {
	tags, times := strings.Join(r.s.Tags, ", "), r.making()+" "+seconds(r.took.build)
	switch {
	case r.s.DryRun:
		tags = "none: " + r.s.Origins["PLUGIN_DRY_RUN"] + " is set"
	case !r.publishes():
		tags = "none: there is no tag to push"
	default:
		times += ", push " + seconds(r.took.push)
	}
	r.log.line("\n%s", strings.Join(r.s.Images, "\n"))
	r.log.line("  %-7s %s", "pushed", tags)
	r.log.line("  %-7s %s", "digest", r.image.Digest)
	if r.image.Size > 0 {
		r.log.line("  %-7s %s compressed", "size", units.HumanSize(float64(r.image.Size)))
	}
	if !r.s.Copy.On {
		r.log.line("  %-7s %d of %d steps", "cached", r.image.Cached, r.image.Steps)
	}
	r.log.line("  %-7s %s (%s)", "time", seconds(r.took.all), times)
	if r.status.line != "" {
		r.log.line("  %-7s %s", "status", r.status.line)
	}
	r.hints()
	if r.s.DryRun {
		r.would()
	}
}

func seconds(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
