// Package tags decides which tags a build step pushes. It is pure: what the CI says of the
// commit and the pipeline's settings go in; tags come out, and a note for each that somebody
// may have expected and does not get.
//
// Three modes have the rules: those of plugins/docker, those of Woodpecker's docker-buildx,
// and Slipway's own, which never moves latest from where neither plugin promises it.
// docs/migrate-step.md has the rules, and a row for each note.
// Sources: https://plugins.drone.io/plugins/docker, https://woodpecker-ci.org/plugins/docker-buildx
package tags

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/runner/ci"
	"slipway/runner/spec"
)

// A Mode is whose rules apply.
type Mode string

// The modes.
const (
	Docker  Mode = "docker"  // plugins/docker
	Buildx  Mode = "buildx"  // woodpecker-plugins/docker-buildx, from version 6
	Slipway Mode = "slipway" // the careful one
)

const latest = "latest"

// Settings are a pipeline's.
type Settings struct {
	Mode       Mode
	Auto       bool     // make tags of the ref
	Named      []string // tags that the pipeline or a file names; none = not set
	From       string   // what names them, for errors; AutoFrom is what sets Auto
	AutoFrom   string
	DefaultTag string // of the default branch; empty = latest
	Suffix     string // of tags that are made
}

// A Plan is what a step pushes.
type Plan struct {
	// Tags are legal and without doubles, those that are made before those that are named.
	// When there are none, the image is built and not pushed.
	Tags []string
	// Skip says why nothing is even built; empty = it is.
	Skip  string
	Notes []Note
}

// Decide makes the plan. It fails on a tag that is named and no tag, and on a ref of which no
// tags can be made; its error says what to set.
func Decide(run ci.Run, s Settings) (Plan, error) {
	if s.DefaultTag == "" {
		s.DefaultTag = latest
	}
	d := decision{run: run, s: s, version: versionOf(run)}
	named, err := d.named()
	if err != nil {
		return Plan{}, err
	}
	if !s.Auto {
		d.plan.Tags = d.withoutAuto(named)
		return d.plan, nil
	}
	made, err := d.made()
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", s.AutoFrom, err)
	}
	named = d.beside(made, named)
	if d.plan.Tags = unique(append(made, named...)); len(d.plan.Tags) == 0 {
		d.plan.Skip = fmt.Sprintf("auto_tag makes tags of the default branch and of Git tags alone: %s", d.latestStays())
	}
	return d.plan, nil
}

// A decision is a plan in the making.
type decision struct {
	run     ci.Run
	s       Settings
	version version // of a tag
	plan    Plan
}

// named are the tags that the pipeline or a file names, in their legal form.
func (d *decision) named() ([]string, error) {
	var all []string
	var errs []error
	for _, tag := range d.s.Named {
		legal := d.withoutPlus(tag)
		if !spec.LegalTag(legal) {
			errs = append(errs, fmt.Errorf("%s has %q, which is no tag: up to 128 letters, digits, _, . and -, not beginning with . or -", d.s.From, tag))
			continue
		}
		all = append(all, legal)
	}
	return unique(all), errors.Join(errs...)
}

// withoutPlus puts _ for +, which versions may have and tags may not.
func (d *decision) withoutPlus(tag string) string {
	legal := strings.ReplaceAll(tag, "+", "_")
	if legal != tag {
		d.note(Plus, "%q is pushed as %q: a tag cannot have a +", tag, legal)
	}
	return legal
}

// withoutAuto are the tags of a step that makes none.
func (d *decision) withoutAuto(named []string) []string {
	if len(named) > 0 {
		return named
	}
	if why := d.latestStays(); why != "" && d.s.Mode == Slipway {
		d.note(Unnamed, "nothing is pushed: no tags are set, and latest is not moved from here (%s); set tags, or auto_tag", why)
		return nil
	}
	return []string{latest}
}

// made are the tags of the ref; none on other branches than the default one and for pull
// requests.
func (d *decision) made() ([]string, error) {
	if d.run.Ref == "" {
		return nil, errors.New("the CI does not say which ref this is (DRONE_COMMIT_REF, CI_COMMIT_REF): name the tags yourself (setting tags)")
	}
	if !spec.LegalTag(d.s.DefaultTag) {
		return nil, fmt.Errorf("default_tag is %q, which is no tag", d.s.DefaultTag)
	}
	var all []string
	switch {
	case d.run.Kind() == ci.Tag:
		var err error
		if all, err = d.version.tags(d.s.Mode); err != nil {
			return nil, err
		}
	case d.onDefaultBranch():
		all = []string{d.s.DefaultTag}
	}
	for i, tag := range all {
		tag = d.withoutPlus(tag)
		switch {
		case d.s.Suffix != "" && tag == d.s.DefaultTag:
			tag = d.s.Suffix
		case d.s.Suffix != "":
			tag += "-" + d.s.Suffix
		}
		if all[i] = tag; !spec.LegalTag(tag) {
			return nil, fmt.Errorf("the tag made of %q is %q, which is no tag: up to 128 letters, digits, _, . and -, not beginning with . or -", d.run.Name(), tag)
		}
	}
	return all, nil
}

// beside are the tags that are pushed beside those that are made.
func (d *decision) beside(made, named []string) []string {
	why := d.latestStays()
	switch {
	case d.s.Mode == Docker:
		if len(made) > 0 && len(named) > 0 {
			d.note(Replaced, "%s of %s are not pushed: auto_tag makes the tags (auto_tag_mode buildx or slipway pushes both)", strings.Join(named, ", "), d.s.From)
		}
		return nil
	case d.s.Mode == Buildx && len(named) > 0:
		return named
	case d.s.Mode == Buildx && why == "":
		return []string{latest} // the default of tags, which that plugin adds
	case d.s.Mode == Buildx:
		d.note(d.stayKind(), "latest is not moved (%s); docker-buildx would move it", why)
		return nil
	}
	return d.carefully(named, why)
}

// carefully drops what would move latest from where it should not. why = "" = from where it
// may.
func (d *decision) carefully(named []string, why string) []string {
	var kept []string
	for _, tag := range named {
		if why != "" && d.isLatest(tag) {
			d.note(d.stayKind(), "%s is not moved (%s)", tag, why)
			continue
		}
		kept = append(kept, tag)
	}
	if why == "" && d.run.Kind() == ci.Tag && !slices.Contains(kept, latest) {
		d.note(Release, "latest is not moved: the default branch moves it (to move it with each release, too, name it in tags)")
	}
	return kept
}

// isLatest reports whether a tag stands for the newest of the default branch.
func (d *decision) isLatest(tag string) bool {
	return tag == latest || tag == d.s.DefaultTag || d.s.Suffix != "" && tag == d.s.Suffix
}

func (d *decision) onDefaultBranch() bool {
	return d.run.DefaultBranch != "" && d.run.Kind() == ci.Branch && d.run.Name() == d.run.DefaultBranch
}

// latestStays says why latest is not to be moved from here; empty = it may be. A CI that says
// nothing, or no CI, is trusted.
func (d *decision) latestStays() string {
	switch kind := d.run.Kind(); {
	case kind == ci.Tag && d.version.exact():
		return fmt.Sprintf("tag %q is a pre-release, or has build metadata", d.run.Name())
	case d.run.Ref == "" && kind != ci.PullRequest, kind == ci.Tag, d.onDefaultBranch():
		return ""
	case kind == ci.PullRequest:
		return "this is a pull request"
	case kind == ci.Unknown:
		return fmt.Sprintf("this is %q", d.run.Ref)
	case d.run.DefaultBranch == "":
		return fmt.Sprintf("this is branch %q, and the CI does not name the default branch (DRONE_REPO_BRANCH, CI_REPO_DEFAULT_BRANCH)", d.run.Name())
	}
	return fmt.Sprintf("this is branch %q, and the default branch is %q", d.run.Name(), d.run.DefaultBranch)
}

func (d *decision) stayKind() Kind {
	if d.run.Kind() == ci.Tag {
		return Prerelease
	}
	return Branch
}

func (d *decision) note(kind Kind, format string, args ...any) {
	d.plan.Notes = append(d.plan.Notes, Note{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

func unique(all []string) []string {
	var once []string
	for _, one := range all {
		if !slices.Contains(once, one) {
			once = append(once, one)
		}
	}
	return once
}
