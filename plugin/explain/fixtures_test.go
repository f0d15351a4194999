package explain_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/provider"
)

// A fixture is a recorded payload with the expected changes from its manifest.
type fixture struct {
	name, file, event string
	kind              autobuild.ProviderKind
	want              []string // branch|name|sha|action, pr|id|sha|source->target … fork=…
}

// fixtures reads the manifest in the folder SLIPWAY_FIXTURES or in its folder webhooks. It
// returns none without the variable. It skips the rows that the manifest marks as unusable.
func fixtures(t *testing.T) []fixture {
	t.Helper()
	dir := os.Getenv("SLIPWAY_FIXTURES")
	if dir == "" {
		return nil
	}
	if !filepath.IsAbs(dir) { // as it was typed: at the repository's root
		dir = filepath.Join("..", "..", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST.tsv")); err != nil {
		dir = filepath.Join(dir, "webhooks")
	}
	lines := strings.Split(strings.TrimSpace(read(t, filepath.Join(dir, "MANIFEST.tsv"))), "\n")
	column := map[string]int{}
	for i, name := range strings.Split(lines[0], "\t") {
		word, _, _ := strings.Cut(name, " ")
		column[word] = i
	}
	var all []fixture
	for _, line := range lines[1:] {
		cells := strings.Split(line+strings.Repeat("\t", len(column)), "\t")
		cell := func(name string) string { return strings.TrimSpace(cells[column[name]]) }
		notes, event := cell("notes"), cell("event_key")
		kind, known := kindOf(cell("flavor"))
		file := filepath.Join(dir, filepath.FromSlash(cell("file")))
		if _, err := os.Stat(file); err != nil || !known || event == "?" ||
			strings.Contains(notes, "sha-not-40hex") || strings.Contains(notes, "INVALID_JSON") {
			continue
		}
		all = append(
			all,
			fixture{name: cell("file"), file: file, event: event, kind: kind, want: wanted(cell("expected"))},
		)
	}
	if len(all) == 0 {
		t.Fatalf("%s: the manifest has no usable row", dir)
	}
	return all
}

func kindOf(flavor string) (autobuild.ProviderKind, bool) {
	switch flavor {
	case "cloud":
		return autobuild.Cloud, true
	case "dc", "dc-plugin":
		return autobuild.DataCenter, true
	}
	return "", false
}

// wanted returns the entries of a manifest cell that are refs or pull requests. Other entries
// yield no change.
func wanted(cell string) (entries []string) {
	for entry := range strings.SplitSeq(cell, " ; ") {
		kind, _, _ := strings.Cut(entry, "|")
		if kind == "branch" || kind == "tag" || kind == "pr" {
			entries = append(entries, strings.TrimSuffix(strings.TrimSpace(entry), "+peel?"))
		}
	}
	return entries
}

func checkFixture(t *testing.T, f fixture) {
	body := read(t, f.file)
	push, err := provider.ParsePush(f.kind, f.event, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, c := range push.Changes {
		got = append(got, entry(c, f.want, i))
	}
	if diff := cmp.Diff(f.want, got); diff != "" {
		t.Errorf("parsed:\n%s", diff)
	}
	_, e := run(t, f.kind, f.event, everything(t), body)
	if len(e.Changes) != len(push.Changes) || e.Ignored != push.Ignored {
		t.Fatalf("explained: %d changes of %d, ignored %q", len(e.Changes), len(push.Changes), e.Ignored)
	}
	for i, c := range e.Changes {
		p := push.Changes[i]
		if c.Kind != string(p.Kind) || c.Name != p.Name || c.Commit != p.Commit || c.Action != string(p.Action) ||
			c.Fork != p.Fork {
			t.Errorf("explained %+v, parsed %+v", c, p)
		}
		builds := p.Action != autobuild.Deleted && p.Kind != autobuild.PullRequest &&
			(p.Kind == autobuild.Tag || !strings.Contains(p.Message, "[skip ci]"))
		if len(built(explanation{Changes: []change{c}})) > 0 != builds {
			t.Errorf("%s %s %s: %+v", c.Kind, c.Name, c.Action, c.Decisions)
		}
	}
}

// entry formats a change like the manifest. It copies the state of a pull request from the
// manifest, because a change has no state.
func entry(c autobuild.Change, want []string, i int) string {
	if c.Kind != autobuild.PullRequest {
		sha, action := c.Commit, strings.TrimSuffix(string(c.Action), "d")
		if c.Action == autobuild.Deleted {
			sha = "deleted"
		}
		return fmt.Sprintf("%s|%s|%s|%s", c.Kind, c.Name, sha, action)
	}
	state := ""
	if i < len(want) {
		_, rest, _ := strings.Cut(want[i], " state=")
		state, _, _ = strings.Cut(rest, " ")
	}
	fork := "False"
	if c.Fork {
		fork = "True"
	}
	return fmt.Sprintf("pr|%s|%s|%s->%s state=%s fork=%s", c.Name, c.Commit, c.Source, c.Target, state, fork)
}
