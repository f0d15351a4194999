package rules

import (
	"fmt"

	"slipway/plugin/autobuild"
)

// A compiledRule is a valid rule in parsed form.
type compiledRule struct {
	rule       autobuild.Rule
	source     source
	templates  []template
	context    string // from the repository's root, clean; "." is the root
	dockerfile string
	globs      []glob
}

// compile parses a rule. The fields of its errors are relative to the rule, for example "source".
func compile(r autobuild.Rule) (compiledRule, []autobuild.FieldError) {
	c := compiledRule{rule: r}
	var faults []autobuild.FieldError
	fault := func(field string, err error) {
		if err != nil {
			faults = append(faults, autobuild.FieldError{Field: field, Message: err.Error()})
		}
	}
	if r.SourceType != autobuild.Branch && r.SourceType != autobuild.Tag {
		fault("source_type", fmt.Errorf("%q is neither branch nor tag", r.SourceType))
	}
	var err error
	c.source, err = parseSource(r.Source)
	fault("source", err)
	if err == nil {
		c.templates, err = parseTags(r.Tags, c.source)
		fault("tags", err)
	}
	c.context, c.dockerfile, err = resolvePaths(r.Context, r.Dockerfile)
	faults = append(faults, fieldErrors(err)...)
	for i, p := range r.Paths {
		g, err := parseGlob(p)
		fault(fmt.Sprintf("paths[%d]", i), err)
		c.globs = append(c.globs, g)
	}
	return c, faults
}

// pathsMatch reports whether a changed path matches the rule's paths. Unknown changes (nil)
// match, because a surplus build is better than a missing one.
func (c compiledRule) pathsMatch(changed []string) (bool, string) {
	if changed == nil {
		return true, "the changed paths are unknown, so it builds"
	}
	for _, p := range changed {
		for _, g := range c.globs {
			if g.match(p) {
				return true, fmt.Sprintf("%s changed, which matches %s", p, g)
			}
		}
	}
	return false, fmt.Sprintf("none of the %d changed paths matches %v", len(changed), c.rule.Paths)
}

// tags expands all templates for a ref, in order, without duplicates and empty tags.
func (c compiledRule) tags(ref string, groups []string) (tags, rewrites []string) {
	seen := map[string]bool{}
	for _, t := range c.templates {
		wanted := t.expand(ref, groups)
		tag := escapeTag(wanted)
		if tag == "" || seen[tag] {
			continue
		}
		seen[tag] = true
		tags = append(tags, tag)
		if tag != wanted {
			rewrites = append(rewrites, fmt.Sprintf("tag %.150q is written %s, which images allow", wanted, tag))
		}
	}
	return tags, rewrites
}
