package tags_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"slipway/runner/ci"
	"slipway/runner/spec"
	"slipway/runner/tags"
)

// prereleases matches names of Git tags that are certainly pre-releases.
var prereleases = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+-[a-z]+$`)

func TestPropertiesOfAnyPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := ci.Run{
			Event: rapid.SampledFrom([]string{"push", "tag", "pull_request", "custom", "cron", ""}).
				Draw(t, "event"),
			DefaultBranch: rapid.SampledFrom([]string{"main", "v1.2.3", ""}).Draw(t, "default branch"),
			Ref: rapid.OneOf(
				rapid.SampledFrom([]string{"", mainBranch, feature, pull, "main", "refs/notes/x", "refs/heads/v1.2.3"}),
				rapid.StringMatching(`refs/tags/v?[0-9]{1,3}(\.[0-9]{1,2}){0,3}(-[a-z0-9.]{1,6})?(\+[a-z0-9.]{1,6})?`),
				rapid.StringMatching(`refs/tags/[0-9]{4}-?[0-9]{2}-?[0-9]{2}`),
				rapid.StringMatching(`refs/(heads|tags)/[ -~]{0,12}`),
			).Draw(t, "ref"),
		}
		name := rapid.OneOf(rapid.Just("latest"), rapid.Just("edge"), rapid.StringMatching(`[a-z0-9+._/-]{0,5}`))
		s := tags.Settings{
			Mode:       rapid.SampledFrom([]tags.Mode{tags.Docker, tags.Buildx, tags.Slipway}).Draw(t, "mode"),
			Auto:       rapid.Bool().Draw(t, "auto"),
			Named:      rapid.SliceOfN(name, 0, 4).Draw(t, "named"),
			DefaultTag: rapid.SampledFrom([]string{"", "latest", "edge"}).Draw(t, "default tag"),
			Suffix:     rapid.SampledFrom([]string{"", "arm", "-x"}).Draw(t, "suffix"),
			From:       "PLUGIN_TAGS", AutoFrom: "PLUGIN_AUTO_TAG",
		}
		p, err := tags.Decide(run, s)
		if err != nil {
			if !strings.Contains(err.Error(), "PLUGIN_") {
				t.Fatalf("got error %v, want the name of a setting in it", err)
			}
			return
		}
		checkPlan(t, run, s, p)
	})
}

func checkPlan(t *rapid.T, run ci.Run, s tags.Settings, p tags.Plan) {
	for i, tag := range p.Tags {
		if !spec.LegalTag(tag) || slices.Contains(p.Tags[:i], tag) {
			t.Fatalf("tag: got %q in %q, want valid tags without duplicates", tag, p.Tags)
		}
	}
	if p.Skip != "" && (len(p.Tags) > 0 || !s.Auto) {
		t.Fatalf("skipped plan: got tags %q, automatic tags %t, want no tags with automatic tags", p.Tags, s.Auto)
	}
	if len(p.Tags) == 0 && p.Skip == "" && len(p.Notes) == 0 {
		t.Fatal("plan: got no tags, no skip and no notes, want a reason why nothing is pushed")
	}
	onDefault := run.Kind() == ci.Branch && run.Name() == run.DefaultBranch
	notRelease := run.Kind() != ci.Tag || prereleases.MatchString(run.Name())
	known := run.Ref != "" || run.Kind() == ci.PullRequest
	blocked := !onDefault && notRelease && known
	explicit := !s.Auto && len(s.Named) > 0 // such tags are pushed unchanged
	if s.Mode == tags.Slipway && !explicit && blocked && slices.Contains(p.Tags, "latest") {
		t.Fatalf("tags of %+v: got latest, want it unmoved", run)
	}
	unnamed := s.Auto && len(s.Named) == 0
	if unnamed && run.Kind() != ci.Tag && !onDefault && len(p.Tags) > 0 {
		t.Fatalf("%s: tags of %+v: got %q, want none", s.Mode, run, p.Tags)
	}
	if unnamed && s.Mode == tags.Slipway && run.Kind() == ci.Tag && slices.Contains(p.Tags, "latest") {
		t.Fatalf("tags of Git tag %+v: got latest, want it only if it is named", run)
	}
}

// FuzzDecide checks that Decide returns legal and unique tags for any input, or an error that names
// the setting. It also checks that in no mode auto_tag alone pushes tags from a branch other than the
// default one.
func FuzzDecide(f *testing.F) {
	f.Add("docker", true, "push", mainBranch, "main", "", "latest", "linux-amd64")
	f.Add("buildx", true, "tag", release, "main", "a,b+c", "edge", "")
	f.Add("slipway", true, "tag", candidate, "main", "latest", "", "arm")
	f.Add("slipway", false, "pull_request", pull, "main", "", "", "")
	f.Add("slipway", true, "custom", "refs/tags/2024-01-31", "", "x/y,-", "-", "-")
	f.Add("docker", true, "tag", "refs/tags/v018.06.00+5_6", "", "", "", "")
	f.Fuzz(func(t *testing.T, mode string, auto bool, event, ref, branch, named, defaultTag, suffix string) {
		s := tags.Settings{
			Mode: tags.Mode(mode), Auto: auto, DefaultTag: defaultTag, Suffix: suffix,
			From: "PLUGIN_TAGS", AutoFrom: "PLUGIN_AUTO_TAG",
		}
		if named != "" {
			s.Named = strings.Split(named, ",")
		}
		run := ci.Run{Event: event, Ref: ref, DefaultBranch: branch}
		p, err := tags.Decide(run, s)
		if err != nil {
			if !strings.Contains(err.Error(), "PLUGIN_") || len(p.Tags) > 0 {
				t.Errorf("got error %v and tags %q, want the name of a setting and no tags", err, p.Tags)
			}
			return
		}
		for i, tag := range p.Tags {
			if !spec.LegalTag(tag) || slices.Contains(p.Tags[:i], tag) {
				t.Errorf("tag: got %q in %q, want valid tags without duplicates", tag, p.Tags)
			}
		}
		if auto && named == "" && len(p.Tags) > 0 && run.Kind() == ci.Branch && run.Name() != branch {
			t.Errorf("tags of branch %q: got %q, want none", run.Name(), p.Tags)
		}
		for _, n := range p.Notes {
			if !slices.Contains(tags.Kinds(), n.Kind) || strings.ContainsAny(n.Text, "\n\r\x1b") {
				t.Errorf("note: got %q, want a known kind and plain text", n)
			}
		}
	})
}
