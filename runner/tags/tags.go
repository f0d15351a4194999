// Package tags decides which tags a build step pushes. It does no I/O: the input is the CI's
// description of the commit and the pipeline's settings. The output is the tags, and a note for each
// tag that a user may expect and that is not pushed.
//
// There are three modes: the rules of plugins/docker, the rules of Woodpecker's docker-buildx, and
// Slipway's own. Slipway's own mode moves the tag latest only if one of the two plugins promises it.
// docs/migrate-step.md lists the rules, and has a row for each note.
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

// A Mode selects the set of rules.
type Mode string

// The modes.
const (
	Docker  Mode = "docker"  // plugins/docker
	Buildx  Mode = "buildx"  // woodpecker-plugins/docker-buildx, from version 6
	Slipway Mode = "slipway" // moves latest least often
)

const latest = "latest"

// Settings are the pipeline's settings for tags.
type Settings struct {
	Mode       Mode
	Auto       bool     // derive tags from the ref
	Named      []string // tags that the pipeline or a file names; empty = not set
	From       string   // source of Named, for errors, for example PLUGIN_TAGS
	AutoFrom   string   // source of Auto, for errors, for example PLUGIN_AUTO_TAG
	DefaultTag string   // tag of the default branch; empty = latest
	Suffix     string   // suffix of derived tags, for example linux-amd64; empty = none
}

// A Plan lists the tags that a step pushes.
type Plan struct {
	// Tags are legal and unique. Derived tags come before named ones. If Tags is empty, the image
	// is built and not pushed.
	Tags []string
	// Skip is the reason why the image is not built; empty = build it.
	Skip  string
	Notes []Note
}

// Decide returns the plan for a run. It fails if a named tag is not legal, and if no tags can be
// derived from the ref. The error names the setting to change.
func Decide(run ci.Run, s Settings) (Plan, error) {
	if s.DefaultTag == "" {
		s.DefaultTag = latest
	}
	d := decision{run: run, s: s, version: versionOf(run)}
	named, err := d.legalNamed()
	if err != nil {
		return Plan{}, err
	}
	if !s.Auto {
		d.plan.Tags = d.tagsWithoutAuto(named)
		return d.plan, nil
	}
	derived, err := d.derive()
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", s.AutoFrom, err)
	}
	named = d.namedBesideDerived(derived, named)
	d.plan.Tags = unique(append(derived, named...))
	if len(d.plan.Tags) == 0 {
		d.plan.Skip = fmt.Sprintf(
			"auto_tag makes tags of the default branch and of Git tags only: %s",
			d.latestBlocked(),
		)
	}
	return d.plan, nil
}

// A decision holds the input of Decide and collects the plan.
type decision struct {
	run     ci.Run
	s       Settings
	version version // version of the Git tag; zero for other refs
	plan    Plan
}

// tagGrammar describes a legal tag, for errors.
const tagGrammar = "which is not a tag: up to 128 letters, digits, _, . and -, not beginning with . or -"

// legalNamed returns the tags that the pipeline or a file names, with + replaced. The error lists
// all tags that are not legal.
func (d *decision) legalNamed() ([]string, error) {
	var all []string
	var errs []error
	for _, tag := range d.s.Named {
		legal := d.replacePlus(tag)
		if !spec.LegalTag(legal) {
			errs = append(errs, fmt.Errorf("%s has %q, "+tagGrammar, d.s.From, tag))
			continue
		}
		all = append(all, legal)
	}
	return unique(all), errors.Join(errs...)
}

// replacePlus replaces each + by _, and adds a note if it does. Versions may contain +, tags may not.
func (d *decision) replacePlus(tag string) string {
	legal := strings.ReplaceAll(tag, "+", "_")
	if legal != tag {
		d.note(Plus, "%q is pushed as %q: a tag cannot have a +", tag, legal)
	}
	return legal
}

// tagsWithoutAuto returns the tags of a step without auto_tag: the named ones, else latest if it may
// be moved.
func (d *decision) tagsWithoutAuto(named []string) []string {
	if len(named) > 0 {
		return named
	}
	if reason := d.latestBlocked(); reason != "" && d.s.Mode == Slipway {
		d.note(Unnamed, "nothing is pushed: no tags are set, and latest is not moved from here (%s); "+
			"set tags, or auto_tag", reason)
		return nil
	}
	return []string{latest}
}

// derive returns the tags of a Git tag or of the default branch, with the suffix. For other branches
// and for pull requests it returns none.
func (d *decision) derive() ([]string, error) {
	if d.run.Ref == "" {
		return nil, errors.New("the CI does not set the ref (DRONE_COMMIT_REF, CI_COMMIT_REF): " +
			"set the tags (setting tags)")
	}
	if !spec.LegalTag(d.s.DefaultTag) {
		return nil, fmt.Errorf("default_tag is %q, "+tagGrammar, d.s.DefaultTag)
	}
	var all []string
	switch {
	case d.run.Kind() == ci.Tag:
		var err error
		all, err = d.version.tags(d.s.Mode)
		if err != nil {
			return nil, err
		}
	case d.onDefaultBranch():
		all = []string{d.s.DefaultTag}
	}
	for i, tag := range all {
		tag = d.replacePlus(tag)
		switch {
		case d.s.Suffix != "" && tag == d.s.DefaultTag:
			tag = d.s.Suffix
		case d.s.Suffix != "":
			tag += "-" + d.s.Suffix
		}
		if !spec.LegalTag(tag) {
			return nil, d.illegalDerived(tag)
		}
		all[i] = tag
	}
	return all, nil
}

// illegalDerived returns the error for a derived tag that is not legal.
func (d *decision) illegalDerived(tag string) error {
	if d.s.Suffix != "" {
		return fmt.Errorf("the tag made of %q with auto_tag_suffix %q is %q, "+tagGrammar,
			d.run.Name(), d.s.Suffix, tag)
	}
	return fmt.Errorf("the tag made of %q is %q, "+tagGrammar, d.run.Name(), tag)
}

// namedBesideDerived returns the named tags that are pushed in addition to the derived ones.
func (d *decision) namedBesideDerived(derived, named []string) []string {
	blocked := d.latestBlocked()
	switch {
	case d.s.Mode == Docker:
		if len(derived) > 0 && len(named) > 0 {
			d.note(
				Replaced,
				"%s of %s are not pushed: auto_tag makes the tags (auto_tag_mode buildx or slipway pushes both)",
				strings.Join(named, ", "),
				d.s.From,
			)
		}
		return nil
	case d.s.Mode == Buildx && len(named) > 0:
		return named
	case d.s.Mode == Buildx && blocked == "":
		return []string{latest} // docker-buildx adds the default of its setting tags
	case d.s.Mode == Buildx:
		d.note(d.blockedKind(), "latest is not moved (%s); docker-buildx would move it", blocked)
		return nil
	}
	return d.dropLatest(named, blocked)
}

// dropLatest removes the tags that mean latest if latest may not be moved. blocked is the reason; ""
// = latest may be moved.
func (d *decision) dropLatest(named []string, blocked string) []string {
	var kept []string
	for _, tag := range named {
		if blocked != "" && d.isLatest(tag) {
			d.note(d.blockedKind(), "%s is not moved (%s)", tag, blocked)
			continue
		}
		kept = append(kept, tag)
	}
	if blocked == "" && d.run.Kind() == ci.Tag && !slices.Contains(kept, latest) {
		d.note(Release, "latest is not moved: the default branch moves it "+
			"(to move it with each release, too, add latest to tags)")
	}
	return kept
}

// isLatest reports whether a tag means the newest image of the default branch.
func (d *decision) isLatest(tag string) bool {
	return tag == latest || tag == d.s.DefaultTag || d.s.Suffix != "" && tag == d.s.Suffix
}

func (d *decision) onDefaultBranch() bool {
	return d.run.DefaultBranch != "" && d.run.Kind() == ci.Branch && d.run.Name() == d.run.DefaultBranch
}

// latestBlocked returns the reason why this run may not move latest; "" = it may. A run without a ref
// (no CI, or a CI that sets no ref) may move latest.
func (d *decision) latestBlocked() string {
	switch kind := d.run.Kind(); {
	case kind == ci.Tag && d.version.isExact():
		return fmt.Sprintf("tag %q is a pre-release, or has build metadata", d.run.Name())
	case d.run.Ref == "" && kind != ci.PullRequest, kind == ci.Tag, d.onDefaultBranch():
		return ""
	case kind == ci.PullRequest:
		return "this is a pull request"
	case kind == ci.Unknown:
		return fmt.Sprintf("this is %q", d.run.Ref)
	case d.run.DefaultBranch == "":
		return fmt.Sprintf("this is branch %q, and the CI does not name the default branch "+
			"(DRONE_REPO_BRANCH, CI_REPO_DEFAULT_BRANCH)", d.run.Name())
	}
	return fmt.Sprintf("this is branch %q, and the default branch is %q", d.run.Name(), d.run.DefaultBranch)
}

// blockedKind returns the kind of the note for a tag that is not moved.
func (d *decision) blockedKind() Kind {
	if d.run.Kind() == ci.Tag {
		return Prerelease
	}
	return Branch
}

func (d *decision) note(kind Kind, format string, args ...any) {
	d.plan.Notes = append(d.plan.Notes, Note{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// unique returns the tags without duplicates, in the order of their first occurrence.
func unique(tags []string) []string {
	var result []string
	for _, tag := range tags {
		if !slices.Contains(result, tag) {
			result = append(result, tag)
		}
	}
	return result
}
