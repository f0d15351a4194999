package step

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"

	"slipway/config/text"
	"slipway/runner/hints"
	"slipway/runner/sandbox"
	"slipway/runner/spec"
)

// printHeader logs the main settings, each with the variable that it came from.
func (r run) printHeader(f flow) {
	r.log.Line("Slipway %s, without a gateway", r.o.Version)
	rows := []row{
		{"workspace", r.s.Workspace, "workspace"},
		{"image", strings.Join(r.s.Images, ", "), "PLUGIN_REPO"},
	}
	for _, tags := range r.tagLists() {
		rows = append(rows, row{"tags", tags, "PLUGIN_TAGS"})
	}
	for _, row := range append(rows, f.header...) {
		if row.value != "" {
			r.log.Row(row.name, fmt.Sprintf("%s (%s)", row.value, r.s.Origins[row.origin]))
		}
	}
	for _, l := range r.s.Logins {
		if !l.Anonymous() {
			r.log.Row("login", l.Host+", by "+l.Origin)
		}
	}
	for _, note := range r.s.TagNotes {
		r.log.Line("tags: %s", note)
	}
	for _, d := range f.details {
		r.log.Row(d.name, d.value)
	}
	for _, warning := range r.s.Warnings {
		r.log.Line("note: %s", warning)
	}
}

// tagLists returns the tags of the images: one list, for example "1.2, latest", or a list for each image if they
// have different tags, for example "registry.example.com/acme/app: 1.2, latest".
func (r run) tagLists() (all []string) {
	different := false
	for _, image := range r.s.Images {
		tags := r.s.TagsFor(image)
		different = different || !slices.Equal(tags, r.s.Tags)
		all = append(all, image+": "+strings.Join(tags, ", "))
	}
	if !different {
		return []string{strings.Join(r.s.Tags, ", ")}
	}
	return all
}

// buildDetails describes the secrets, the caches and the file of a build. output is the setting of the file.
func buildDetails(o spec.BuildOptions, output string) (rows []row) {
	var ids []string
	for _, s := range o.Secrets {
		ids = append(ids, s.ID)
	}
	if !o.SSHKey.IsZero() {
		ids = append(ids, "an ssh key")
	}
	for _, a := range o.SSH {
		ids = append(ids, "ssh "+a.ID)
	}
	rows = append(rows, row{name: "secrets", value: strings.Join(ids, ", ")})
	for _, c := range o.CacheTo {
		cache := strings.TrimSpace(c.Type + " " + c.Attrs["ref"] + c.Attrs["dest"])
		rows = append(rows, row{name: "cache", value: cache})
	}
	for _, c := range o.Contexts {
		rows = append(rows, row{name: "context", value: c.Name + " = " + c.Source + c.Dir})
	}
	rows = append(rows, row{name: "rights", value: strings.Join(o.Allow, ", ")})
	if a := o.Archive; a.Type != "" {
		rows = append(rows, row{name: "file", value: fmt.Sprintf("%s, of type %s (%s)", a.Path, a.Type, output)})
	}
	return rows
}

// printSettings logs every setting that has a value, and the variable that it came from.
func (r run) printSettings() {
	r.log.Line("\nsettings")
	for _, s := range r.s.Shown() {
		r.log.Line(
			"  %-28s %s (%s)",
			strings.ToLower(strings.TrimPrefix(s.Name, "PLUGIN_")),
			text.FirstLine(s.Value),
			s.Origin,
		)
	}
}

// printSummary ends the log of a step that succeeded.
func (r run) printSummary(done outcome, status string) {
	pushed := r.tagLists()
	switch {
	case r.s.DryRun:
		pushed = []string{"none: " + r.s.Origins["PLUGIN_DRY_RUN"] + " is set"}
	case !r.publishes():
		pushed = []string{"none: there is no tag to push"}
	}
	size := ""
	if done.image.Size > 0 {
		size = units.HumanSize(float64(done.image.Size)) + " compressed"
	}
	var times []string
	for _, s := range done.stages {
		times = append(times, s.name+" "+seconds(s.took))
	}
	r.log.Line("\n%s", strings.Join(r.s.Images, "\n"))
	rows := make([][2]string, 0, len(pushed))
	for _, tags := range pushed {
		rows = append(rows, [2]string{"pushed", tags})
	}
	for _, row := range append(rows, [][2]string{
		{"digest", done.image.Digest},
		{"size", size},
		{"cached", done.cached},
		{"time", fmt.Sprintf("%s (%s)", seconds(done.total), strings.Join(times, ", "))},
		{"status", status},
	}...) {
		if row[1] != "" {
			r.log.Line("  %-7s %s", row[0], row[1])
		}
	}
	for _, hint := range done.hints {
		r.log.Line("  %-7s %s", "hint", hint)
	}
	if r.s.DryRun {
		r.printPushPlan()
	}
}

func seconds(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// maxDockerfile bounds the Dockerfile that is searched for hints, in bytes.
const maxDockerfile = 1 << 20

// findHints returns the changes to the Dockerfile that make the build faster, each with its line. Hints
// are advice: a Dockerfile that cannot be read has none.
func (r run) findHints(dockerfile string, ran []hints.Step) (found []string) {
	file, err := os.Open(dockerfile)
	if err != nil {
		return nil
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxDockerfile))
	if err != nil {
		return nil
	}
	for _, h := range hints.Find(content, ran) {
		found = append(found, fmt.Sprintf("%s:%d: %s", r.s.Dockerfile, h.Line, h.Text))
	}
	return found
}

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
	request, err := r.buildRequest(r.s.BuildArgs)
	if err != nil {
		return err
	}
	if r.s.Log.Debug {
		attributes, err := request.Attributes()
		if err != nil {
			return err
		}
		r.log.Line("\nBuildKit's request\n  %s", strings.Join(attributes, "\n  "))
	}
	if r.s.Check {
		r.log.Line("\nwould check %s", r.s.Dockerfile)
	} else {
		r.log.Line("\nwould build %s", r.s.Image())
	}
	if r.s.Builder != "" {
		r.log.Line("would use the builder at %s (%s)", r.s.Builder, r.s.Origins["PLUGIN_BUILDER"])
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
