package rules_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/rules"
)

const (
	one = "1111111111111111111111111111111111111111"
	two = "2222222222222222222222222222222222222222"
)

func rule(kind autobuild.RefKind, source, tags string) autobuild.Rule {
	r := autobuild.DefaultRule(source)
	r.SourceType, r.Tags = kind, tags
	return r
}

func mainUpdated() autobuild.Change {
	return autobuild.Change{
		Kind:    autobuild.Branch,
		Name:    "main",
		Action:  autobuild.Updated,
		Old:     one,
		Commit:  two,
		Message: "Change\n",
	}
}

func decide(t *testing.T, c autobuild.Change, r autobuild.Rule, autotest autobuild.Autotest) autobuild.Decision {
	t.Helper()
	ds := rules.Decide(c, []autobuild.Rule{r}, rules.Options{Autotest: autotest})
	if len(ds) != 1 {
		t.Fatalf("decisions for one rule: got %d, want 1", len(ds))
	}
	return ds[0]
}

func TestDecideFillsInTheBuild(t *testing.T) {
	r := autobuild.Rule{
		ID:         "releases",
		SourceType: autobuild.Tag,
		Source:     `/^v([0-9]+)\.([0-9]+)$/`,
		Tags:       `{\1}.{\2},latest`,
		Context:    "/svc",
		Dockerfile: "Dockerfile",
		Autobuild:  true,
		BuildArgs:  map[string]string{"VERSION": "{sourceref}", "PLAIN": "{other}"},
	}
	got := decide(t, autobuild.Change{Kind: autobuild.Tag, Name: "v1.2", Action: autobuild.Created, Commit: one}, r, "")
	want := autobuild.Decision{
		Rule: "releases", Build: true, Publish: true, Tags: []string{"1.2", "latest"},
		Dockerfile: "svc/Dockerfile", Context: "svc",
		BuildArgs: map[string]string{"VERSION": "v1.2", "PLAIN": "{other}"},
		Reason:    `tag v1.2 matches /^v([0-9]+)\.([0-9]+)$/`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	if got := r.BuildArgs["VERSION"]; got != "{sourceref}" {
		t.Errorf("build argument of the rule itself: got %q, want it unchanged", got)
	}
}

func TestDecideReturnsAReason(t *testing.T) {
	invalid := rule(autobuild.Branch, "/(/", "latest")
	off := rule(autobuild.Branch, "main", "latest")
	off.Autobuild = false
	withPaths := rule(autobuild.Branch, "main", "latest")
	withPaths.Paths = []string{"svc/**"}
	docs := mainUpdated()
	docs.Paths = []string{"docs/a.md", "README.md"}
	for _, row := range []struct {
		name   string
		change autobuild.Change
		rule   autobuild.Rule
		reason string
	}{
		{
			"another kind", mainUpdated(), rule(autobuild.Tag, "main", "latest"),
			"the rule is for a tag, this is a branch",
		},
		{
			"another name", mainUpdated(), rule(autobuild.Branch, "master", "latest"),
			"branch main does not match master",
		},
		{"autobuild off", mainUpdated(), off, "branch main matches main, but autobuild is off"},
		{"paths", docs, withPaths, "none of the 2 changed paths matches [svc/**]"},
		{
			"R17", mainUpdated(), rule(autobuild.Branch, "/^(x)?/", `{\1}`),
			`no valid tag: "{\\1}" expands to nothing for main`,
		},
		{"an invalid rule", mainUpdated(), invalid, "the rule is not valid: source: not a regular expression"},
	} {
		d := decide(t, row.change, row.rule, "")
		if !strings.HasPrefix(d.Reason, row.reason) {
			t.Errorf("%s: got the reason %q, want the prefix %q", row.name, d.Reason, row.reason)
		}
		d.Reason = ""
		want := autobuild.Decision{Rule: "0", Tags: []string{}} // tags are never nil
		if diff := cmp.Diff(want, d); diff != "" {
			t.Errorf("%s: decision (-want +got):\n%s", row.name, diff)
		}
	}
}

func TestW21SkipPhrasesApplyToBranches(t *testing.T) {
	for phrase, builds := range map[string]bool{
		"[skip ci]": false, "[ci skip]": false, "[skip build]": false, "[build skip]": false,
		"[skip-ci]": true, "skip ci": true, "[SKIP CI]": true, "": true,
	} {
		for _, kind := range []autobuild.RefKind{autobuild.Branch, autobuild.Tag} {
			c := autobuild.Change{
				Kind:    kind,
				Name:    "main",
				Action:  autobuild.Updated,
				Commit:  one,
				Message: "Fix a typo\n\n" + phrase + "\n",
			}
			d := decide(t, c, rule(kind, "main", "latest"), "")
			builds := builds || kind == autobuild.Tag // release tools tag commits with [skip ci]
			if d.Build != builds {
				t.Errorf("%s with %q: got build %t, want %t", kind, phrase, d.Build, builds)
			}
			if !builds && !strings.HasSuffix(d.Reason, "says "+phrase) {
				t.Errorf("%s with %q: got the reason %q, want the phrase in it", kind, phrase, d.Reason)
			}
		}
	}
}

func TestADeletedRefHasNoDecisions(t *testing.T) {
	c := autobuild.Change{Kind: autobuild.Branch, Name: "main", Action: autobuild.Deleted, Old: one}
	ds := rules.Decide(c, []autobuild.Rule{rule(autobuild.Branch, "main", "latest")}, rules.Options{})
	if ds == nil {
		t.Error("decisions: got nil, want an empty list")
	}
	if len(ds) > 0 {
		t.Errorf("decisions: got %+v, want none", ds)
	}
}

func TestRulesAreNamedByIDOrIndex(t *testing.T) {
	named := rule(autobuild.Branch, "main", "edge")
	named.ID = "edge"
	all := []autobuild.Rule{rule(autobuild.Branch, "x", "x"), named, rule(autobuild.Branch, "main", "latest")}
	var names []string
	for _, d := range rules.Decide(mainUpdated(), all, rules.Options{}) {
		names = append(names, d.Rule)
	}
	if diff := cmp.Diff([]string{"0", "edge", "2"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestW12UnknownChangedPathsBuild(t *testing.T) {
	r := rule(autobuild.Branch, "main", "latest")
	r.Paths = []string{"docs/**", "svc/**"}
	c := mainUpdated()
	for _, row := range []struct {
		name   string
		paths  []string
		build  bool
		reason string
	}{
		{"unknown", nil, true, "the changed paths are unknown"},
		{"one matches", []string{"README.md", "svc/a/main.go"}, true, "svc/a/main.go changed, which matches svc/**"},
		{"no changed path", []string{}, false, ""},
	} {
		c.Paths = row.paths
		d := decide(t, c, r, "")
		if d.Build != row.build {
			t.Errorf("%s: got build %t, want %t", row.name, d.Build, row.build)
		}
		if !strings.Contains(d.Reason, row.reason) {
			t.Errorf("%s: got the reason %q, want %q in it", row.name, d.Reason, row.reason)
		}
	}
}

func TestPullRequests(t *testing.T) {
	pr := autobuild.Change{
		Kind:   autobuild.PullRequest,
		Name:   "17",
		Action: autobuild.Opened,
		Commit: one,
		Source: "feature",
		Target: "main",
	}
	with := func(f func(*autobuild.Change)) autobuild.Change { c := pr; f(&c); return c }
	branch, off := rule(autobuild.Branch, "main", "latest"), rule(autobuild.Branch, "main", "latest")
	off.Autobuild = false
	for _, row := range []struct {
		name     string
		change   autobuild.Change
		rule     autobuild.Rule
		autotest autobuild.Autotest
		build    bool
		reason   string
	}{
		{"P1 off", pr, branch, autobuild.AutotestOff, false, "not tested by this version"},
		{"P1 internal", pr, branch, autobuild.AutotestInternal, true, "not pushed"},
		{"P1 fork, internal only", with(func(c *autobuild.Change) { c.Fork = true }), branch, autobuild.AutotestInternal, false,
			"comes from a fork"},
		{
			"P1 fork, all", with(func(c *autobuild.Change) { c.Fork = true }), branch, autobuild.AutotestAll, true,
			"not pushed",
		},
		{
			"P2", with(func(c *autobuild.Change) { c.Target = "sandbox" }), branch, autobuild.AutotestAll, false,
			"does not match main",
		},
		{"P4", with(func(c *autobuild.Change) { c.Action, c.Old = autobuild.Updated, one }), branch, autobuild.AutotestAll, false,
			"same as before"},
		{"P6", with(func(c *autobuild.Change) { c.Commit = "" }), branch, autobuild.AutotestAll, false, "gone"},
		{"autobuild off is not autotest off", pr, off, autobuild.AutotestInternal, true, "not pushed"},
		{
			"a rule for tags", pr, rule(autobuild.Tag, "/.*/", "x"), autobuild.AutotestAll, false,
			"pull requests go to branches",
		},
		{
			"closed", with(func(c *autobuild.Change) { c.Action = autobuild.Closed }), branch, autobuild.AutotestAll,
			false, "closed",
		},
		{
			"commented", with(func(c *autobuild.Change) { c.Action = autobuild.Commented }), branch,
			autobuild.AutotestAll, false, "changes no code",
		},
	} {
		d := decide(t, row.change, row.rule, row.autotest)
		if d.Build != row.build {
			t.Errorf("%s: got build %t, want %t", row.name, d.Build, row.build)
		}
		if d.Publish {
			t.Errorf("%s: got publish true, want false", row.name)
		}
		if !strings.Contains(d.Reason, row.reason) {
			t.Errorf("%s: got the reason %q, want %q in it", row.name, d.Reason, row.reason)
		}
	}
}

func TestR18TestOnly(t *testing.T) {
	r := rule(autobuild.Branch, "main", "latest")
	r.Autobuild = false
	d := decide(t, mainUpdated(), r, autobuild.AutotestInternal)
	if !d.Build {
		t.Error("build: got false, want true")
	}
	if d.Publish {
		t.Error("publish: got true, want false")
	}
	if len(d.Tags) != 1 {
		t.Errorf("tags: got %q, want one", d.Tags)
	}
	if want := "built and tested, not pushed"; !strings.Contains(d.Reason, want) {
		t.Errorf("reason: got %q, want %q in it", d.Reason, want)
	}
}

// The settings of an automated build as this version applies them.
func TestEvaluateAppliesTheSettingsOfAnAutomatedBuild(t *testing.T) {
	off := rule(autobuild.Branch, "main", "latest")
	off.Autobuild = false
	on := rule(autobuild.Branch, "main", "latest")
	skipping := mainUpdated()
	skipping.Message = "Fix a typo [skip ci]"
	pr := autobuild.Change{
		Kind: autobuild.PullRequest, Name: "7", Action: autobuild.Opened, Commit: one, Source: "x", Target: "main",
	}
	for name, row := range map[string]struct {
		change autobuild.Change
		build  autobuild.AutomatedBuild
		want   bool
		reason string
	}{
		"a pull request": {
			pr, autobuild.AutomatedBuild{Autotest: autobuild.AutotestAll, Rules: []autobuild.Rule{on}},
			false, rules.PullRequestsOff,
		},
		"autobuild off with a stored autotest": {
			mainUpdated(), autobuild.AutomatedBuild{Autotest: autobuild.AutotestAll, Rules: []autobuild.Rule{off}},
			false, "autobuild is off",
		},
		"a commit that says [skip ci]": {
			skipping, autobuild.AutomatedBuild{Rules: []autobuild.Rule{on}}, false, "its commit says [skip ci]",
		},
		"the same with skip_ci off": {
			skipping, autobuild.AutomatedBuild{SkipCIOff: true, Rules: []autobuild.Rule{on}}, true, "matches main",
		},
	} {
		d := rules.Evaluate(row.change, row.build)[0]
		if d.Build != row.want {
			t.Errorf("%s: got build %t, want %t", name, d.Build, row.want)
		}
		if !strings.Contains(d.Reason, row.reason) {
			t.Errorf("%s: got the reason %q, want %q in it", name, d.Reason, row.reason)
		}
	}
}
