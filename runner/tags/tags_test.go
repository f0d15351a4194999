package tags_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/ci"
	"slipway/runner/tags"
)

const (
	mainBranch = "refs/heads/main"
	feature    = "refs/heads/feature/x"
	release    = "refs/tags/v1.2.3"
	candidate  = "refs/tags/v1.2.3-rc.1"
	pull       = "refs/pull-requests/3/from"
)

// runOf returns a run for a ref of a repository whose default branch is main.
func runOf(ref string) ci.Run { return ci.Run{Ref: ref, DefaultBranch: "main"} }

func decide(t *testing.T, ref string, s tags.Settings) tags.Plan {
	t.Helper()
	s.From = "PLUGIN_TAGS"
	p, err := tags.Decide(runOf(ref), s)
	if err != nil {
		t.Fatalf("%s of %+v: %v", ref, s, err)
	}
	return p
}

// kinds returns the kinds of a plan's notes.
func kinds(p tags.Plan) []tags.Kind {
	var all []tags.Kind
	for _, n := range p.Notes {
		all = append(all, n.Kind)
	}
	return all
}

// Each mode derives the same tags from a Git tag as its plugin, and fails if its plugin fails.
// Sources: the plugins' documentation, https://plugins.drone.io/plugins/docker and
// https://woodpecker-ci.org/plugins/docker-buildx, and the behavior of their programs.
func TestTagsDerivedFromAGitTag(t *testing.T) {
	const refused = "refused"
	for _, c := range []struct{ name, docker, buildx, slipway string }{
		{"1.0.0", "1 1.0 1.0.0", "1 1.0 1.0.0 latest", "1 1.0 1.0.0"},
		{"v1.0.0", "1 1.0 1.0.0", "1 1.0 1.0.0 latest", "1 1.0 1.0.0"},
		{"v1.9.2", "1 1.9 1.9.2", "1 1.9 1.9.2 latest", "1 1.9 1.9.2"},
		{"0.9.0", "0.9 0.9.0", "0.9 0.9.0 latest", "0.9 0.9.0"},
		{"v0.0.1", "0.0 0.0.1", "0.0 0.0.1 latest", "0.0 0.0.1"},
		{"1.0.0-rc.1", "1.0.0-rc.1", "1.0.0-rc.1", "1.0.0-rc.1"},
		{"v1.0.0-alpha.1", "1.0.0-alpha.1", "1.0.0-alpha.1", "1.0.0-alpha.1"},
		{"v1.0.0-20240131.0830", "1.0.0-20240131.0830", "1.0.0-20240131.0830", "1.0.0-20240131.0830"},
		{"v1.0.0+5", "1.0.0_5", "1.0.0_5", "1.0.0_5"},
		{"v1.0.0-rc.1+5-a", "1.0.0-rc.1_5-a", "1.0.0-rc.1_5-a", "1.0.0-rc.1_5-a"},
		{"v18.06.0", "18 18.06 18.06.0", "18 18.6 18.6.0 latest", "18 18.06 18.06.0"},
		{"v18.06.0-rc1", "18.6.0-rc1", "18.6.0-rc1", "18.06.0-rc1"},
		{"20240131", refused, "20240131 latest", "20240131"},
		{"2024-01-31", refused, "2024-01-31 latest", "2024-01-31"},
		{"v2024", refused, "2024 latest", "2024"},
		{"2024.0.0", "2024 2024.0 2024.0.0", "2024 latest", "2024 2024.0 2024.0.0"},
		{"v1.2", refused, "1 1.2 1.2.0 latest", "1 1.2"},
		{"v1", refused, "1 1.0 1.0.0 latest", "1"},
		{"v0", refused, "0.0 0.0.0 latest", "0"},
		{"v0.3", refused, "0.3 0.3.0 latest", "0.3"},
		{"v1.2-rc1", refused, "1.2.0-rc1", "1.2-rc1"},
		{"1.2.3.4", refused, refused, refused},
		{"x1.0.0", refused, refused, refused},
		{"api/v1.0.0", refused, refused, refused},
		{"v1.0.0-", refused, refused, refused},
		{"v1.0.0-rc..1", refused, refused, refused},
		{"v1.0.0+", refused, refused, refused},
		{"v1..0", refused, refused, refused},
		{"foo", refused, refused, refused},
		{"v", refused, refused, refused},
		{"1.0.0-" + strings.Repeat("a", 130), refused, refused, refused},
	} {
		for mode, want := range map[tags.Mode]string{tags.Docker: c.docker, tags.Buildx: c.buildx, tags.Slipway: c.slipway} {
			p, err := tags.Decide(runOf("refs/tags/"+c.name), tags.Settings{Mode: mode, Auto: true})
			got := strings.Join(p.Tags, " ")
			if err != nil {
				got = refused
			}
			if got != want {
				t.Errorf("%s of %s: got %q, error %v, want %q", mode, c.name, got, err, want)
			}
			if err != nil && !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s of %s: got error %v, want the name in it", mode, c.name, err)
			}
		}
	}
}

// A row has a ref, settings, and the result of each mode. The result is the tags (none if the build is
// not pushed) or "skip", then the kinds of the notes.
func TestTagsOfOtherRefs(t *testing.T) {
	auto := tags.Settings{Auto: true}
	suffix := tags.Settings{Auto: true, Suffix: "linux-amd64"}
	edge := tags.Settings{Auto: true, DefaultTag: "edge"}
	named := tags.Settings{Auto: true, Named: []string{"latest", "abc"}}
	only := tags.Settings{Auto: true, Named: []string{"latest"}}
	for _, c := range []struct {
		ref                     string
		s                       tags.Settings
		docker, buildx, slipway string
	}{
		{mainBranch, auto, "latest", "latest", "latest"},
		{feature, auto, "skip", "skip latest-branch", "skip"},
		{pull, auto, "skip", "skip latest-branch", "skip"},
		{"refs/notes/x", auto, "skip", "skip latest-branch", "skip"},
		{release, auto, "1 1.2 1.2.3", "1 1.2 1.2.3 latest", "1 1.2 1.2.3 latest-release"},
		{candidate, auto, "1.2.3-rc.1", "1.2.3-rc.1 latest-prerelease", "1.2.3-rc.1"},
		{mainBranch, suffix, "linux-amd64", "linux-amd64 latest", "linux-amd64"},
		{release, suffix, "1-linux-amd64 1.2-linux-amd64 1.2.3-linux-amd64", "1-linux-amd64 1.2-linux-amd64 1.2.3-linux-amd64 latest", "1-linux-amd64 1.2-linux-amd64 1.2.3-linux-amd64 latest-release"},
		{feature, suffix, "skip", "skip latest-branch", "skip"},
		{mainBranch, edge, "edge", "edge latest", "edge"},
		{mainBranch, named, "latest tags-replaced", "latest abc", "latest abc"},
		{feature, named, "skip", "latest abc", "abc latest-branch"},
		{pull, named, "skip", "latest abc", "abc latest-branch"},
		{release, named, "1 1.2 1.2.3 tags-replaced", "1 1.2 1.2.3 latest abc", "1 1.2 1.2.3 latest abc"},
		{candidate, named, "1.2.3-rc.1 tags-replaced", "1.2.3-rc.1 latest abc", "1.2.3-rc.1 abc latest-prerelease"},
		{feature, only, "skip", "latest", "skip latest-branch"},
		{feature, tags.Settings{Auto: true, DefaultTag: "edge", Suffix: "arm", Named: []string{"edge", "arm", "x"}}, "skip", "edge arm x", "x latest-branch latest-branch"},
		{"refs/tags/v1+5", tags.Settings{Named: []string{"1+5", "1_5"}}, "1_5 plus", "1_5 plus", "1_5 plus"},
		{mainBranch, tags.Settings{}, "latest", "latest", "latest"},
		{"", tags.Settings{}, "latest", "latest", "latest"},
		{release, tags.Settings{}, "latest", "latest", "latest"},
		{"refs/tags/foo", tags.Settings{}, "latest", "latest", "latest"},
		{candidate, tags.Settings{}, "latest", "latest", "latest-unnamed"},
		{feature, tags.Settings{}, "latest", "latest", "latest-unnamed"},
		{pull, tags.Settings{}, "latest", "latest", "latest-unnamed"},
		{feature, tags.Settings{Named: []string{"latest"}}, "latest", "latest", "latest"},
	} {
		for mode, want := range map[tags.Mode]string{tags.Docker: c.docker, tags.Buildx: c.buildx, tags.Slipway: c.slipway} {
			s := c.s
			s.Mode = mode
			p := decide(t, c.ref, s)
			got := slices.Clone(p.Tags)
			if p.Skip != "" {
				got = append(got, "skip")
			}
			for _, kind := range kinds(p) {
				got = append(got, string(kind))
			}
			if diff := cmp.Diff(strings.Fields(want), got); diff != "" {
				t.Errorf("%s of %s with %+v (-want +got):\n%s", mode, c.ref, c.s, diff)
			}
		}
	}
}

func TestASkipAndANoteGiveTheReason(t *testing.T) {
	for _, c := range []struct {
		run  ci.Run
		s    tags.Settings
		want string
	}{
		{runOf(feature), tags.Settings{Auto: true}, `this is branch "feature/x", and the default branch is "main"`},
		{ci.Run{Ref: mainBranch}, tags.Settings{Auto: true}, `this is branch "main", and the CI does not name the default branch (DRONE_REPO_BRANCH`},
		{ci.Run{Event: "pull_request", Ref: mainBranch, DefaultBranch: "main"}, tags.Settings{Auto: true}, "this is a pull request"},
		{ci.Run{Ref: "refs/heads/"}, tags.Settings{Auto: true}, "the CI does not name the default branch"},
		{ci.Run{Event: "pull_request"}, tags.Settings{}, "this is a pull request"},
		{runOf(feature), tags.Settings{}, "nothing is pushed: no tags are set, and latest is not moved from here (this is branch"},
		{runOf(candidate), tags.Settings{Auto: true, Named: []string{"latest"}}, `latest is not moved (tag "v1.2.3-rc.1" is a pre-release`},
		{runOf(mainBranch), tags.Settings{Named: []string{"1+2"}}, `"1+2" is pushed as "1_2"`},
		{runOf(feature), tags.Settings{Mode: tags.Buildx, Auto: true}, "docker-buildx would move it [latest-branch]"},
	} {
		if c.s.Mode == "" {
			c.s.Mode = tags.Slipway
		}
		p, err := tags.Decide(c.run, c.s)
		reasons := p.Skip
		for _, n := range p.Notes {
			reasons += "\n" + n.String()
		}
		if err != nil || !strings.Contains(reasons, c.want) {
			t.Errorf("%+v of %+v: error %v, got reasons %q, want %q", c.s, c.run, err, reasons, c.want)
		}
	}
}

func TestDecideErrorsNameTheSetting(t *testing.T) {
	for want, c := range map[string]struct {
		run ci.Run
		s   tags.Settings
	}{
		"the CI does not set the ref":                                        {ci.Run{DefaultBranch: "main"}, tags.Settings{Auto: true}},
		`default_tag is "-x"`:                                                {runOf(mainBranch), tags.Settings{Auto: true, DefaultTag: "-x"}},
		`the tag made of "main" with auto_tag_suffix "-x" is "-x"`:           {runOf(mainBranch), tags.Settings{Auto: true, Suffix: "-x"}},
		`PLUGIN_TAGS has "a/b", which is not a tag`:                          {runOf(mainBranch), tags.Settings{Named: []string{"1", "a/b"}, From: "PLUGIN_TAGS"}},
		`"v1.2" is not a version like v1.2.3 in full (auto_tag_mode docker)`: {runOf("refs/tags/v1.2"), tags.Settings{Mode: tags.Docker, Auto: true}},
		"set the tags (setting tags":                                         {runOf("refs/tags/foo"), tags.Settings{Mode: tags.Slipway, Auto: true}},
	} {
		if p, err := tags.Decide(c.run, c.s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v of %+v: got %+v, %v, want %q", c.s, c.run, p, err, want)
		}
	}
}

func TestChooseReadsTheSourceWithTheHighestPrecedence(t *testing.T) {
	setting := tags.Source{Name: "PLUGIN_TAGS", Tags: []string{"s"}}
	file := tags.Source{Name: "PLUGIN_TAGS_FILE", Tags: []string{"f"}}
	dot := tags.Source{Name: ".tags", Tags: []string{"d", "e"}}
	var none tags.Source
	for _, c := range []struct {
		setting, file, dot      tags.Source
		docker, buildx, slipway string
	}{
		{none, none, none, "", "", ""},
		{setting, none, none, "PLUGIN_TAGS", "PLUGIN_TAGS", "PLUGIN_TAGS"},
		{none, none, dot, ".tags", ".tags", ".tags"},
		{setting, none, dot, "PLUGIN_TAGS", ".tags", "PLUGIN_TAGS"},
		{setting, file, none, "PLUGIN_TAGS_FILE", "PLUGIN_TAGS_FILE", "PLUGIN_TAGS_FILE"},
		{setting, file, dot, "PLUGIN_TAGS_FILE", "PLUGIN_TAGS_FILE", "PLUGIN_TAGS_FILE"},
	} {
		sources := 0
		for _, s := range []tags.Source{c.setting, c.file, c.dot} {
			sources += min(1, len(s.Tags))
		}
		for mode, want := range map[tags.Mode]string{tags.Docker: c.docker, tags.Buildx: c.buildx, tags.Slipway: c.slipway} {
			got, notes := tags.Choose(mode, c.setting, c.file, c.dot)
			if got.Name != want || len(notes) != max(0, sources-1) {
				t.Errorf(
					"%s: got %q with notes %v, want %q and a note for each other source",
					mode,
					got.Name,
					notes,
					want,
				)
			}
			for _, n := range notes {
				if n.Kind != tags.Unread || !strings.Contains(n.Text, want+" has precedence") {
					t.Errorf("%s: note: got %v, want %q before the unread source", mode, n, want)
				}
			}
		}
	}
}
