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
	if !filepath.IsAbs(dir) { // relative to the root of the repository
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
		f := fixture{name: cell("file"), file: file, event: event, kind: kind, want: wanted(cell("expected"))}
		all = append(all, f)
	}
	if len(all) == 0 {
		t.Fatalf("manifest of %s: got no usable row, want one", dir)
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

// checkFixture compares the changes of a fixture with its manifest, and the explanation with the changes.
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
		t.Errorf("parsed changes (-want +got):\n%s", diff)
	}
	_, e := run(t, f.kind, f.event, everything(t), body)
	if len(e.Changes) != len(push.Changes) {
		t.Fatalf("explained changes: got %d, want %d", len(e.Changes), len(push.Changes))
	}
	if e.Ignored != push.Ignored {
		t.Errorf("ignored: got %q, want %q", e.Ignored, push.Ignored)
	}
	for i, c := range e.Changes {
		checkChange(t, c, push.Changes[i])
	}
}

// checkChange compares an explained change with the parsed one, and checks whether it builds.
func checkChange(t *testing.T, c change, p autobuild.Change) {
	t.Helper()
	explained := c
	explained.Source, explained.Target, explained.Decisions = "", "", nil
	want := change{Kind: string(p.Kind), Name: p.Name, Action: string(p.Action), Commit: p.Commit, Fork: p.Fork}
	if diff := cmp.Diff(want, explained); diff != "" {
		t.Errorf("explained change (-parsed +explained):\n%s", diff)
	}
	builds := p.Action != autobuild.Deleted && p.Kind != autobuild.PullRequest &&
		(p.Kind == autobuild.Tag || !strings.Contains(p.Message, "[skip ci]"))
	if got := len(built(explanation{Changes: []change{c}})) > 0; got != builds {
		t.Errorf("%s %s %s: got build %t, want %t: %+v", c.Kind, c.Name, c.Action, got, builds, c.Decisions)
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
