package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/plugin/autobuild"
)

const (
	maxRules        = 100
	maxPerRule      = 100 // build arguments, platforms or paths
	maxArgumentName = 128 // bytes
	maxBuildArgs    = 16 << 10
)

var (
	ruleID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// Check validates rules before they are saved. Each error names its field, for example
// "rules[0].source". If the rules are valid, Check returns warnings instead, for example about
// two rules that push the same tag. Check has no side effects.
func Check(rs []autobuild.Rule) (faults []autobuild.FieldError, warnings []string) {
	if len(rs) > maxRules {
		return []autobuild.FieldError{{Field: "rules",
			Message: fmt.Sprintf("%d rules: at most %d are allowed", len(rs), maxRules)}}, nil
	}
	compiled := make([]compiledRule, len(rs))
	ids := map[string]int{}
	for i, r := range rs {
		c, found := compile(r)
		compiled[i] = c
		found = append(found, checkLists(r)...)
		if first, double := ids[r.ID]; r.ID != "" && double {
			found = append(
				found,
				autobuild.FieldError{
					Field:   "id",
					Message: fmt.Sprintf("%q is already the id of rules[%d]", r.ID, first),
				},
			)
		} else {
			ids[r.ID] = i
		}
		for _, f := range found {
			faults = append(
				faults,
				autobuild.FieldError{Field: fmt.Sprintf("rules[%d].%s", i, f.Field), Message: f.Message},
			)
		}
	}
	if len(faults) > 0 {
		return faults, nil
	}
	return nil, findWarnings(compiled)
}

// checkLists validates the fields that Decide does not use.
func checkLists(r autobuild.Rule) (faults []autobuild.FieldError) {
	fault := func(field, format string, args ...any) {
		faults = append(faults, autobuild.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if r.ID != "" && !ruleID.MatchString(r.ID) {
		fault("id", "%q: an id has up to 64 letters, digits, . _ and -", r.ID)
	}
	if n := max(len(r.BuildArgs), len(r.Platforms), len(r.Paths)); n > maxPerRule {
		fault(
			"build_args",
			"build_args, platforms or paths has %d entries: at most %d are allowed",
			n,
			maxPerRule,
		)
	}
	for _, name := range slices.Sorted(maps.Keys(r.BuildArgs)) {
		if len(name) > maxArgumentName || !grammar.IsVariable(name) {
			fault(
				"build_args",
				"%q is not a name of a build argument: use up to 128 letters, digits and _, no digit first",
				name,
			)
		}
		if len(r.BuildArgs[name]) > maxBuildArgs || strings.ContainsRune(r.BuildArgs[name], 0) {
			fault("build_args", "the value of %s is longer than %d bytes or contains a zero byte", name, maxBuildArgs)
		}
	}
	for i, p := range r.Platforms {
		if err := grammar.CheckBuildable(p); err != nil {
			fault(fmt.Sprintf("platforms[%d]", i), "%s", err)
		}
	}
	return faults
}

// findWarnings warns of pairs of rules that push the same tag, and of sources that are probably
// wrong.
func findWarnings(rs []compiledRule) (warnings []string) {
	for i, a := range rs {
		if strings.HasPrefix(a.source.literal, "refs/") {
			warnings = append(
				warnings,
				fmt.Sprintf(
					"rules[%d].source: %s is compared with the short name, for example main or v1.0",
					i,
					a.source.literal,
				),
			)
		}
		for j, b := range rs[:i] {
			if tag := sharedTag(b, a); tag != "" {
				warnings = append(
					warnings,
					fmt.Sprintf("rules[%d] and rules[%d] both push %s: the later build wins", j, i, tag),
				)
			}
		}
	}
	return warnings
}

// sharedTag returns a tag, or a tag template, that both rules push. It returns "" if none is
// known.
func sharedTag(a, b compiledRule) string {
	if !a.rule.Autobuild || !b.rule.Autobuild {
		return ""
	}
	for _, tag := range a.knownTags(b) {
		if slices.Contains(b.knownTags(a), tag) {
			return tag
		}
	}
	return ""
}

// knownTags returns the tags of the rule that are known without a ref. These are the fixed tags,
// the tags for its literal source, and the tags for the other rule's literal source if it
// matches. If both rules have the same source, the templates are included.
func (c compiledRule) knownTags(other compiledRule) []string {
	var known []string
	same := c.rule.SourceType == other.rule.SourceType
	for _, t := range c.templates {
		if t.isFixed() || same && c.rule.Source == other.rule.Source {
			known = append(known, t.text)
		}
	}
	refs := []string{c.source.literal}
	if same {
		refs = append(refs, other.source.literal)
	}
	for _, ref := range refs {
		if groups, ok := c.source.match(ref); ok && ref != "" {
			tags, _ := c.tags(ref, groups)
			known = append(known, tags...)
		}
	}
	return known
}
