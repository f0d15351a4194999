package rules_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/rules"
	"slipway/runner/spec"
)

// FuzzDecide compares decisions with an independent implementation, and with the runner's
// validation. The runner must accept the tags, paths and arguments of every build of a valid
// rule.
func FuzzDecide(f *testing.F) {
	f.Add(
		true,
		"main",
		"Change",
		true,
		"main",
		"latest",
		"/",
		"Dockerfile",
		"VERSION",
		"{sourceref}",
		"svc/**",
		"svc/a",
	)
	f.Add(
		false,
		"v1.2",
		"[skip ci]",
		false,
		`/^v([0-9]+)\.([0-9]+)$/`,
		`{\1}.{\2},{\1},latest`,
		"",
		"docker/Dockerfile",
		"A",
		"x",
		"",
		"",
	)
	f.Add(true, "feature/é", "", true, "/.*/", "{sourceref}", "/svc/", "", "A", "", "*", "a")
	f.Add(true, "--upload-pack=x", "", true, "/^(.)(.)?/", `{\2},{\1}`, "a//b", ".", "A", "", "!", "a")
	f.Add(true, "a;id", "", true, "/(/", "{{.Token}}", "../x", `a\b`, "LD_PRELOAD", "", "", "")
	for _, path := range []string{".", "/", `a\b`, "a//b/", "\u00a0", "..."} {
		f.Add(true, "main", "", true, "main", "latest", "/", path, "A", "", "", "")
		f.Add(true, "main", "", true, "main", "latest", path, "Dockerfile", "A", "", "", "")
		f.Add(true, "main", "", true, "main", "latest", "", path, "A", "", "", "")
	}
	f.Fuzz(
		func(t *testing.T, branch bool, name, message string, forBranch bool, source, tags, context, dockerfile, arg, value, glob, changed string) {
			kinds := map[bool]autobuild.RefKind{true: autobuild.Branch, false: autobuild.Tag}
			r := autobuild.Rule{
				SourceType: kinds[forBranch], Source: source, Tags: tags, Context: context, Dockerfile: dockerfile,
				Autobuild: true, BuildArgs: map[string]string{arg: value},
			}
			if glob != "" {
				r.Paths = []string{glob}
			}
			c := autobuild.Change{
				Kind:    kinds[branch],
				Name:    name,
				Message: message,
				Action:  autobuild.Updated,
				Old:     one,
				Commit:  two,
				Paths:   []string{changed},
			}
			faults, _ := rules.Check([]autobuild.Rule{r})
			ds := rules.Decide(c, []autobuild.Rule{r}, rules.Options{})
			if diff := cmp.Diff(ds, rules.Decide(c, []autobuild.Rule{r}, rules.Options{})); diff != "" {
				t.Fatalf("second decision (-first +second):\n%s", diff)
			}
			d := ds[0]
			checkConsistent(t, d)
			if !d.Build || len(faults) > 0 {
				return
			}
			if branch != forBranch {
				t.Errorf("kind: got a build of a %s, want none by a rule for a %s", c.Kind, r.SourceType)
			}
			if !matches(source, name) {
				t.Errorf("name: got a build of %q, want none by a rule for %q", name, source)
			}
			if branch && regexp.MustCompile(`\[(skip|ci|build) (skip|ci|build)\]`).MatchString(message) &&
				strings.Contains(message, "[skip ci]") {
				t.Errorf("commit message %q: got a build, want none", message)
			}
			checkRunnable(t, d)
		},
	)
}

// matches is an independent implementation of source.match.
func matches(source, name string) bool {
	source = strings.Trim(
		source,
		" \t\r\n\v\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
	)
	if source[0] != '/' {
		return source == name
	}
	return regexp.MustCompile(source[1:len(source)-1]).FindStringIndex(name) != nil
}

// checkRunnable checks that the runner accepts a decision.
func checkRunnable(t *testing.T, d autobuild.Decision) {
	t.Helper()
	s := spec.Spec{
		BuildID:    "b",
		Attempt:    1,
		Timeout:    1,
		Image:      "r.example/acme/app",
		Publish:    true,
		Tags:       d.Tags,
		Dockerfile: d.Dockerfile,
		Context:    d.Context,
		BuildArgs:  d.BuildArgs,
		Source: spec.Source{URL: "https://h.example/a/b", Commit: two, Ref: "refs/heads/main",
			RefName: "main"},
	}
	if err := s.Validate(); err != nil {
		t.Errorf("the runner rejects %+v: %v", d, err)
	}
	for _, p := range []string{d.Context, d.Dockerfile} {
		if !filepath.IsLocal(p) {
			t.Errorf("path: got %q, want one in the repository", p)
		}
	}
	seen := slices.Clone(d.Tags)
	slices.Sort(seen)
	if len(slices.Compact(seen)) != len(d.Tags) {
		t.Errorf("tags: got %q, want no duplicates", d.Tags)
	}
	if len(d.Tags) > 50 {
		t.Errorf("tags: got %d, want at most 50", len(d.Tags))
	}
}

// FuzzTags compares the tags with an independent expansion by text replacement, and with OCI's
// grammar for tags.
func FuzzTags(f *testing.F) {
	f.Add("v1.2-rc", "{sourceref}")
	f.Add("v1-x", `{\1}.{\2},{\1},latest, {\3}`)
	f.Add("a-b", "{{.Token}}")
	f.Add(".-é", `.{\1}`)
	f.Add("a{sourceref}-{\\1}", `{sourceref}{\2}`)
	for _, text := range rulesTags(f) {
		f.Add("1.2-3", text)
	}
	f.Fuzz(func(t *testing.T, name, tags string) {
		r := rule(autobuild.Branch, "/^(.*?)-(.*)$/", tags)
		if faults, _ := rules.Check([]autobuild.Rule{r}); len(faults) > 0 {
			return
		}
		d := rules.Decide(autobuild.Change{Kind: autobuild.Branch, Name: name, Action: autobuild.Created, Commit: one}, []autobuild.Rule{r},
			rules.Options{})[0]
		groups := regexp.MustCompile("^(.*?)-(.*)$").FindStringSubmatch(name)
		if groups == nil {
			if d.Build {
				t.Errorf("decision: got %+v, want no build", d)
			}
			return
		}
		want := []string{}
		for _, item := range strings.Split(tags, ",") {
			text := strings.NewReplacer("{sourceref}", name, `{\1}`, groups[1], `{\2}`, groups[2]).
				Replace(strings.TrimSpace(item))
			if tag := validTag(text); tag != "" && !slices.Contains(want, tag) {
				want = append(want, tag)
			}
		}
		if diff := cmp.Diff(want, d.Tags); diff != "" {
			t.Errorf("%q for %q (-want +got):\n%s", tags, name, diff)
		}
	})
}

// validTag replaces invalid characters of a tag and limits its length.
func validTag(text string) string {
	text = regexp.MustCompile(`[^A-Za-z0-9_.-]`).ReplaceAllString(text, "_")
	if text != "" && (text[0] == '.' || text[0] == '-') {
		text = "_" + text[1:]
	}
	return text[:min(len(text), 128)]
}

// rulesTags returns the tags of our sample rules files.
func rulesTags(f *testing.F) (all []string) {
	files, err := filepath.Glob("../../testdata/rules/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(errors.Join(err, errors.New("no rules files")))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\s*tags: '?([^'\n]*)`).FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
	}
	return all
}
