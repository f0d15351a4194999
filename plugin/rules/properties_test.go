package rules_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipway/plugin/autobuild"
	"slipway/plugin/rules"
)

// ociTag is the grammar of a tag in the OCI distribution specification.
var ociTag = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

func anyRule(t *rapid.T) autobuild.Rule {
	source := rapid.SampledFrom([]string{"main", "/.*/", `/^v?(\d*)(-.+)?/`, "/(.)(.)?/", "v1"}).Draw(t, "source")
	templates := []string{"{sourceref}", "latest", "v{sourceref}-x", "{sourceref}{sourceref}"}
	if strings.Contains(source, "(") {
		templates = append(templates, `{\1}`, `{\2}`, `{\1}.{\2}`, `{\2},{\1}`)
	}
	tags := rapid.SliceOfN(rapid.SampledFrom(templates), 1, 4).Draw(t, "tags")
	r := rule(
		rapid.SampledFrom([]autobuild.RefKind{autobuild.Branch, autobuild.Tag}).Draw(t, "type"),
		source,
		strings.Join(tags, ", "),
	)
	r.Autobuild = rapid.Bool().Draw(t, "autobuild")
	return r
}

// checkConsistent checks that a decision has a reason, and that it has tags and publishes exactly if it
// builds.
func checkConsistent(t rapid.TB, d autobuild.Decision) {
	if d.Reason == "" {
		t.Fatalf("reason: got none, want one: %+v", d)
	}
	if d.Build != (len(d.Tags) > 0) {
		t.Fatalf("decision: got build %t with the tags %q, want tags only for a build", d.Build, d.Tags)
	}
	if d.Build != d.Publish {
		t.Fatalf("build: got %t and publish %t, want both equal", d.Build, d.Publish)
	}
}

func TestO8AnyRefGivesValidTagsOrAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRule(t)
		c := autobuild.Change{
			Kind: rapid.SampledFrom([]autobuild.RefKind{autobuild.Branch, autobuild.Tag}).Draw(t, "kind"),
			Name: rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z/.+#é-]{1,300}`), rapid.SampledFrom([]string{"main", "v1"})).
				Draw(t, "name"),
			Action: autobuild.Created,
			Commit: one,
		}
		if faults, _ := rules.Check([]autobuild.Rule{r}); len(faults) > 0 {
			t.Fatalf("faults of the rule: got %v, want none", faults)
		}
		ds := rules.Decide(c, []autobuild.Rule{r}, rules.Options{})
		d := ds[0]
		checkConsistent(t, d)
		if d.Build && c.Kind != r.SourceType {
			t.Fatalf("kind: got a build of a %s, want none by a rule for a %s", c.Kind, r.SourceType)
		}
		seen := map[string]bool{}
		for _, tag := range d.Tags {
			if !ociTag.MatchString(tag) {
				t.Fatalf("tag: got the invalid %q, want a valid one", tag)
			}
			if seen[tag] {
				t.Fatalf("tags: got %q twice in %q, want it once", tag, d.Tags)
			}
			seen[tag] = true
		}
		if diff := cmp.Diff(ds, rules.Decide(c, []autobuild.Rule{r}, rules.Options{})); diff != "" {
			t.Fatalf("second decision (-first +second):\n%s", diff)
		}
	})
}

func TestAnyTextAsARuleIsCheckedOrDecidedWithoutPanic(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`/?[a-z(){}\\0-9.*+,/?<=!|^$-]{0,30}/?`))
	rapid.Check(t, func(t *rapid.T) {
		r := autobuild.Rule{
			SourceType: autobuild.Branch,
			Source:     text.Draw(t, "source"),
			Tags:       text.Draw(t, "tags"),
			Autobuild:  true,
			Context:    text.Draw(t, "context"),
			Dockerfile: text.Draw(t, "dockerfile"),
			Paths:      []string{text.Draw(t, "path")},
		}
		faults, _ := rules.Check([]autobuild.Rule{r})
		c := autobuild.Change{
			Kind: autobuild.Branch, Name: "main", Action: autobuild.Created, Commit: one, Paths: []string{"a/b"},
		}
		d := rules.Decide(c, []autobuild.Rule{r}, rules.Options{})[0]
		if len(faults) > 0 && d.Build {
			t.Fatalf("rule with the faults %v: got a build, want none", faults)
		}
		if d.Reason == "" {
			t.Fatalf("reason: got none, want one: %+v", d)
		}
		for _, p := range []string{d.Context, d.Dockerfile} {
			if strings.HasPrefix(p, "/") || strings.HasPrefix(p+"/", "../") {
				t.Fatalf("path: got %q, want one in the repository", p)
			}
		}
	})
}
