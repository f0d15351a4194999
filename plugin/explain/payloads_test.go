package explain_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
)

// everything returns rules that build each branch and each tag under its own name.
func everything(t *testing.T) string {
	t.Helper()
	return rulesOf(t, rule(autobuild.Branch, "/.*/", "{sourceref}"), rule(autobuild.Tag, "/.*/", "{sourceref}"))
}

// summary describes each change and its tags in one line.
func summary(e explanation) (lines []string) {
	for _, c := range e.Changes {
		var tags []string
		for _, d := range c.Decisions {
			tags = append(tags, d.Tags...)
		}
		line := fmt.Sprintf("%s %s %s %.7s: %s", c.Kind, c.Name, c.Action, c.Commit, strings.Join(tags, ","))
		lines = append(lines, line)
	}
	return lines
}

func TestPayloadsByRow(t *testing.T) {
	const a, b = "86f7e43", "e9d71f5"
	for _, row := range []struct {
		name, file string
		want       []string
	}{
		{"W6", "cloud/repo.push--branch-and-two-tags",
			[]string{"branch main updated " + b + ": main", "tag v1.2 created " + b + ": v1.2",
				"tag v2.0 created " + b + ": v2.0"}},
		{"W8", "cloud/repo.push--deleted-and-updated",
			[]string{"branch old deleted : ", "branch main updated " + b + ": main"}},
		{
			"W9 only deletions", "cloud/repo.push--only-deletions",
			[]string{"branch old deleted : ", "tag v0.1 deleted : "},
		},
		{"W9 no changes", "cloud/repo.push--no-changes", nil},
		{
			"W10", "cloud/repo.push--branch-created-without-commits",
			[]string{"branch develop created " + a + ": develop"},
		},
		{"W11", "cloud/repo.push--forced", []string{"branch main updated 67ec0b5: main"}},
		{"W12", "cloud/repo.push--truncated", []string{"branch main updated 395df8f: main"}},
		{"W13 annotated", "cloud/repo.push--tag-annotated", []string{"tag v1.2 created " + b + ": v1.2"}},
		{"W13 lightweight", "cloud/repo.push--tag-lightweight", []string{"tag v1.2 created " + b + ": v1.2"}},
		{"W13 Data Center annotated", "datacenter/repo.refs_changed--tag-annotated",
			[]string{"tag v1.2 created " + b + ": v1.2"}},
		{"W14", "cloud/repo.push--no-author", []string{"branch main updated " + b + ": main"}},
		{"W21", "cloud/repo.push--skip-ci",
			[]string{"branch main updated " + b + ": ", "tag v1.2 created " + b + ": v1.2",
				"branch dash created " + b + ": dash"}},
		{"W21 build", "cloud/repo.push--skip-build",
			[]string{"branch main updated " + b + ": ", "branch develop updated " + b + ": "}},
		{"Data Center, several", "datacenter/repo.refs_changed--branch-and-two-tags",
			[]string{"branch main updated " + b + ": main", "tag v1.2 created " + b + ": v1.2",
				"tag v2.0 created " + b + ": v2.0"}},
		{"Data Center, plugin", "datacenter/repo.push--plugin",
			[]string{"branch main updated " + b + ": main", "tag v1.2 created " + b + ": v1.2", "branch old deleted : "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := explainFile(t, row.file)
			if diff := cmp.Diff(row.want, summary(e)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func explainFile(t *testing.T, file string) explanation {
	t.Helper()
	kind := autobuild.Cloud
	if strings.HasPrefix(file, "datacenter/") {
		kind = autobuild.DataCenter
	}
	event, _, _ := strings.Cut(filepath.Base(file), "--")
	_, e := run(t, kind, strings.ReplaceAll(event, ".", ":"), everything(t),
		read(t, filepath.Join(webhooks, file+".json")))
	return e
}

func TestW7EightTagsAreEightChanges(t *testing.T) {
	e := explainFile(t, "cloud/repo.push--eight-tags")
	if len(e.Changes) != 8 {
		t.Fatalf("changes: got %d, want 8", len(e.Changes))
	}
	for _, c := range e.Changes {
		if diff := cmp.Diff([]string{c.Name}, c.Decisions[1].Tags); diff != "" {
			t.Errorf("tags of %s (-want +got):\n%s", c.Name, diff)
		}
	}
}

func TestW19OtherEventsAreIgnored(t *testing.T) {
	for _, row := range []struct {
		kind           autobuild.ProviderKind
		event, payload string
	}{
		{autobuild.Cloud, "repo:fork", `{"repository":{"uuid":"{r}"}}`},
		{autobuild.Cloud, "repo:refs_changed", `{}`},
		{autobuild.Cloud, "made:up", `this is no JSON`},
		{autobuild.Cloud, "", `{}`},
		{autobuild.DataCenter, "diagnostics:ping", `{"test":true}`},
		{autobuild.DataCenter, "repo:forked", ``},
	} {
		_, e := run(t, row.kind, row.event, everything(t), row.payload)
		if e.Ignored == "" {
			t.Errorf("%s: got no reason to ignore it, want one", row.event)
		}
		if len(e.Changes) > 0 {
			t.Errorf("%s: got %d changes, want none", row.event, len(e.Changes))
		}
	}
}

func TestEntriesThatAreNotChangesAreListedAsSkipped(t *testing.T) {
	for _, file := range []string{"cloud/repo.push--bookmark", "cloud/repo.push--both-null",
		"datacenter/repo.refs_changed--other-refs"} {
		e := explainFile(t, file)
		if len(e.Skipped) != 1 {
			t.Errorf("%s: got %d skipped entries, want 1", file, len(e.Skipped))
		}
		if len(e.Changes) != 1 {
			t.Errorf("%s: got %d changes, want 1", file, len(e.Changes))
		}
	}
}
