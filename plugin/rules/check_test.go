package rules_test

import (
	"slices"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/rules"
)

func TestR16CheckFindsInvalidFields(t *testing.T) {
	version := `/^v([0-9]+)\.([0-9]+)$/`
	edit := func(f func(*autobuild.Rule)) autobuild.Rule {
		r := rule(autobuild.Branch, "main", "latest")
		f(&r)
		return r
	}
	for _, row := range []struct {
		name          string
		rule          autobuild.Rule
		field, reason string
	}{
		{"a group too many", rule(autobuild.Tag, version, `{\3}`), "tags", `{\3}: the source has only 2 groups`},
		{"a group of a literal", rule(autobuild.Branch, "main", `{\1}`), "tags", "needs a regular expression"},
		{"a tenth group", rule(autobuild.Tag, version, `{\10}`), "tags", `{\10} is not a placeholder`},
		{"group zero", rule(autobuild.Tag, version, `{\0}`), "tags", `{\0} is not a placeholder`},
		{"an unknown placeholder", rule(autobuild.Tag, version, `{branch}`), "tags", "{branch} is not a placeholder"},
		{"half a placeholder", rule(autobuild.Tag, version, `{sourceref`), "tags", "is not allowed in a tag"},
		{"a bad expression", rule(autobuild.Tag, "/(/", "latest"), "source", "not a regular expression"},
		{"look-ahead", rule(autobuild.Tag, "/v(?=1)/", "latest"), "source",
			"look-ahead and look-behind, here (?=, are not supported"},
		{"look-behind", rule(autobuild.Tag, "/(?<!a)v/", "latest"), "source", "here (?<!"},
		{
			"a back-reference", rule(autobuild.Tag, `/(a)\1/`, "latest"), "source",
			`back-references, here \1, are not supported`,
		},
		{"half an expression", rule(autobuild.Tag, "/v1", "latest"), "source", "between two slashes"},
		{"an empty expression", rule(autobuild.Tag, "//", "latest"), "source", "between two slashes"},
		{"no source", rule(autobuild.Tag, " ", "latest"), "source", "empty"},
		{"a long source", rule(autobuild.Tag, strings.Repeat("x", 1001), "latest"), "source", "at most 1000"},
		{
			"no source type", edit(func(r *autobuild.Rule) { r.SourceType = "pull_request" }), "source_type",
			"neither branch nor tag",
		},
		{"no tags", rule(autobuild.Branch, "main", " , "), "tags", "empty"},
		{"a slash in a tag", rule(autobuild.Branch, "main", "a/b"), "tags", `"a/b" is not allowed in a tag`},
		{"a tag with a dash first", rule(autobuild.Branch, "main", "-a"), "tags", "begins with"},
		{"a tag with a dot first", rule(autobuild.Branch, "main", ".a"), "tags", "begins with"},
		{"a long tag", rule(autobuild.Branch, "main", strings.Repeat("a", 129)), "tags", "at most 128"},
		{"many tags", rule(autobuild.Branch, "main", strings.Repeat("a,", 51)), "tags", "51 tags"},
		{"R22 context", edit(func(r *autobuild.Rule) { r.Context = "../.." }), "context", ".. is not allowed"},
		{
			"R22 dockerfile", edit(func(r *autobuild.Rule) { r.Dockerfile = "a/../../b" }), "dockerfile",
			".. is not allowed",
		},
		{
			"O5 a backslash in the context", edit(func(r *autobuild.Rule) { r.Context = `svc\a` }), "context",
			"a backslash",
		},
		{
			"O5 a backslash in the dockerfile", edit(func(r *autobuild.Rule) { r.Dockerfile = `svc\Dockerfile` }),
			"dockerfile", "a backslash",
		},
		{
			"a directory as dockerfile", edit(func(r *autobuild.Rule) { r.Dockerfile = "svc/." }), "dockerfile",
			"names a directory",
		},
		{"the root as dockerfile", edit(func(r *autobuild.Rule) { r.Context, r.Dockerfile = "", "." }), "dockerfile",
			"names a directory"},
		{"a zero byte", edit(func(r *autobuild.Rule) { r.Dockerfile = "a\x00" }), "dockerfile", "control character"},
		{
			"a long path", edit(func(r *autobuild.Rule) { r.Context = strings.Repeat("a", 1001) }), "context",
			"at most 1000",
		},
		{"an id", edit(func(r *autobuild.Rule) { r.ID = "a b" }), "id", "up to 64 letters"},
		{"a platform", edit(func(r *autobuild.Rule) { r.Platforms = []string{"linux/amd64", "arm"} }), "platforms[1]",
			"not a platform"},
		{
			"a platform of another system", edit(func(r *autobuild.Rule) { r.Platforms = []string{"windows/foo"} }),
			"platforms[0]", "linux only",
		},
		{
			"an unknown processor", edit(func(r *autobuild.Rule) { r.Platforms = []string{"linux/foo"} }),
			"platforms[0]", "foo is none of",
		},
		{
			"a build argument", edit(func(r *autobuild.Rule) { r.BuildArgs = map[string]string{"A B": ""} }),
			"build_args", `"A B" is not a name`,
		},
		{"a large build argument",
			edit(func(r *autobuild.Rule) { r.BuildArgs = map[string]string{"A": strings.Repeat("x", 17<<10)} }),
			"build_args", "the value of A"},
		{"many paths", edit(func(r *autobuild.Rule) { r.Paths = make([]string, 101) }), "build_args", "101 entries"},
		{"an empty path", edit(func(r *autobuild.Rule) { r.Paths = []string{"a", "/"} }), "paths[1]", "empty"},
		{"a negated path", edit(func(r *autobuild.Rule) { r.Paths = []string{"!a"} }), "paths[0]", "negated"},
		{
			"a bad class", edit(func(r *autobuild.Rule) { r.Paths = []string{"a/[b"} }), "paths[0]",
			"not a valid pattern",
		},
		{"a long pattern", edit(func(r *autobuild.Rule) { r.Paths = []string{strings.Repeat("a", 1001)} }), "paths[0]",
			"at most 1000"},
	} {
		faults, warnings := rules.Check([]autobuild.Rule{rule(autobuild.Branch, "x", "x"), row.rule})
		found := false
		for _, f := range faults {
			found = found || f.Field == "rules[1]."+row.field && strings.Contains(f.Message, row.reason)
		}
		if !found {
			t.Errorf("%s: got the faults %v, want %s: %s", row.name, faults, row.field, row.reason)
		}
		if len(warnings) > 0 {
			t.Errorf("%s: got the warnings %v, want none", row.name, warnings)
		}
	}
}

func TestCheckReturnsAllFaultsOfARule(t *testing.T) {
	faults, _ := rules.Check([]autobuild.Rule{{SourceType: "x", Source: "/(/", Context: "..", Dockerfile: ".."}})
	var fields []string
	for _, f := range faults {
		fields = append(fields, f.Field)
	}
	want := "rules[0].source_type rules[0].source rules[0].context rules[0].dockerfile"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("fields with faults: got %s, want %s", got, want)
	}
}

func TestTheNumberOfRulesIsLimitedAndIDsAreUnique(t *testing.T) {
	faults, _ := rules.Check(make([]autobuild.Rule, 101))
	if len(faults) != 1 {
		t.Fatalf("101 rules: got the faults %v, want one", faults)
	}
	if faults[0].Field != "rules" {
		t.Errorf("101 rules: got the field %s, want rules", faults[0].Field)
	}
	a := rule(autobuild.Branch, "main", "latest")
	a.ID = "a"
	faults, _ = rules.Check([]autobuild.Rule{a, rule(autobuild.Tag, "x", "x"), a})
	if len(faults) != 1 {
		t.Fatalf("repeated id: got the faults %v, want one", faults)
	}
	if want := `rules[2].id: "a" is already the id of rules[0]`; faults[0].Error() != want {
		t.Errorf("repeated id: got %v, want %s", faults[0], want)
	}
}

func TestR15CheckWarnsOfRulesThatPushTheSameTag(t *testing.T) {
	off := rule(autobuild.Branch, "main", "latest")
	off.Autobuild = false
	for _, row := range []struct {
		name string
		a, b autobuild.Rule
		tag  string
	}{
		{
			"the same literal", rule(autobuild.Branch, "main", "edge,latest"),
			rule(autobuild.Tag, "/^v/", "{sourceref},latest"), "latest",
		},
		{
			"a literal source's tag", rule(autobuild.Branch, "main", "{sourceref}"),
			rule(autobuild.Branch, "dev", "main"), "main",
		},
		{"an expression that finds the literal", rule(autobuild.Branch, "main", "main"), rule(autobuild.Branch, "/^m/", "{sourceref}"),
			"main"},
		{
			"the same expression", rule(autobuild.Tag, `/^v(\d+)/`, `{\1}`),
			rule(autobuild.Tag, `/^v(\d+)/`, `x,{\1}`), `{\1}`,
		},
		{"different tags", rule(autobuild.Branch, "main", "latest"), rule(autobuild.Branch, "main", "edge"), ""},
		{
			"different kinds", rule(autobuild.Branch, "/v/", "{sourceref}"),
			rule(autobuild.Tag, "/v/", "{sourceref}"), "",
		},
		{"one is off", rule(autobuild.Branch, "main", "latest"), off, ""},
	} {
		faults, warnings := rules.Check([]autobuild.Rule{row.a, row.b})
		if len(faults) > 0 {
			t.Errorf("%s: got the faults %v, want none", row.name, faults)
		}
		var want []string
		if row.tag != "" {
			want = []string{"rules[0] and rules[1] both push " + row.tag + ": the later build wins"}
		}
		if !slices.Equal(warnings, want) {
			t.Errorf("%s: got the warnings %q, want %q", row.name, warnings, want)
		}
	}
}

func TestCheckWarnsOfAFullRefNameAsSource(t *testing.T) {
	_, warnings := rules.Check([]autobuild.Rule{rule(autobuild.Branch, "refs/heads/main", "latest")})
	if len(warnings) != 1 {
		t.Errorf("warnings: got %q, want one", warnings)
	}
}

func TestR23TheDefaultRuleHasNoFault(t *testing.T) {
	if faults, warnings := rules.Check([]autobuild.Rule{autobuild.DefaultRule("main")}); len(faults)+len(warnings) > 0 {
		t.Errorf("default rule: got the faults %v and the warnings %q, want none", faults, warnings)
	}
}

func TestPathPatterns(t *testing.T) {
	for _, row := range []struct {
		pattern, path string
		match         bool
	}{
		{"svc/**", "svc/a", true},
		{"svc/**", "svc/a/b/c.go", true},
		{"svc/**", "svc", false},
		{"svc/**", "svcs/a", false},
		{"svc/", "svc/a/b", true},
		{"/svc/*", "svc/a", true},
		{"svc/*", "svc/a/b", false},
		{"*.go", "main.go", true},
		{"*.go", "a/main.go", false},
		{"**/*.go", "main.go", true},
		{"**/*.go", "a/b/main.go", true},
		{"**", "a/b", true},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"a/**/b", "a/x/y/c", false},
		{"a/**/b/**/c", "a/b/b/x/c", true},
		{"go.???", "go.mod", true},
		{"[a-c]/x", "b/x", true},
		{"[a-c]/x", "d/x", false},
		{"Dockerfile", "Dockerfile", true},
		{"Dockerfile", "svc/Dockerfile", false},
	} {
		r := rule(autobuild.Branch, "main", "latest")
		r.Paths = []string{row.pattern}
		c := mainUpdated()
		c.Paths = []string{row.path}
		if d := decide(t, c, r, ""); d.Build != row.match {
			t.Errorf(
				"pattern %s, path %s: got build %t (%s), want %t",
				row.pattern,
				row.path,
				d.Build,
				d.Reason,
				row.match,
			)
		}
	}
}

func TestAPatternOfManyStarsIsQuick(t *testing.T) {
	r := rule(autobuild.Branch, "main", "latest")
	r.Paths = []string{strings.Repeat("**/a/", 190) + "b"}
	c := mainUpdated()
	c.Paths = []string{strings.Repeat("a/", 5000) + "c"}
	if d := decide(t, c, r, ""); d.Build {
		t.Errorf("build: got true (%s), want false", d.Reason)
	}
}
