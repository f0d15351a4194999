package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/bitbucket/webhook/webhooktest"
)

const (
	one = "1111111111111111111111111111111111111111"
	two = "2222222222222222222222222222222222222222"
)

type payload struct {
	name   string
	flavor webhook.Flavor
	event  string
	body   []byte
}

// payloads returns the sample payloads of both flavors. A file name consists of the event, --,
// and a description.
func payloads(t testing.TB) (all []payload) {
	t.Helper()
	for _, flavor := range []webhook.Flavor{webhook.Cloud, webhook.DataCenter} {
		files, err := filepath.Glob(filepath.Join("../../../testdata/webhooks", string(flavor), "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no payloads of %s: %v", flavor, err)
		}
		for _, f := range files {
			body, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			event, _, _ := strings.Cut(filepath.Base(f), "--")
			all = append(all, payload{filepath.Base(f), flavor, strings.ReplaceAll(event, ".", ":"), body})
		}
	}
	return all
}

// RFC 8259 §8.1 lets a parser ignore a byte order mark.
func TestAByteOrderMarkIsIgnored(t *testing.T) {
	for _, p := range payloads(t) {
		want, wantErr := webhook.Parse(p.flavor, p.event, p.body)
		got, err := webhook.Parse(p.flavor, p.event, append([]byte("\ufeff"), p.body...))
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%s: got error %v, want %v", p.name, err, wantErr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p.name, diff)
		}
	}
}

func file(t *testing.T, name string) webhook.Event {
	t.Helper()
	for _, p := range payloads(t) {
		if p.name == name+".json" {
			e, err := webhook.Parse(p.flavor, p.event, p.body)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
	}
	t.Fatalf("payload %s: got none, want one", name)
	return webhook.Event{}
}

func TestParseKeepsTheOldAndNewCommitOfABranch(t *testing.T) {
	e, err := webhook.Parse(
		webhook.Cloud,
		"repo:push",
		[]byte(`{"repository":{"uuid":"{r}","full_name":"acme/app"},"push":{"changes":[
		{"old":{"type":"branch","name":"main","target":{"hash":"`+one+`"}},
		 "new":{"type":"branch","name":"main","target":{"hash":"`+strings.ToUpper(two)+`","message":"Say \"hi\"\n"}}}]}}`),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := webhook.Event{
		Event:      "repo:push",
		Repository: webhook.Repository{UUID: "{r}", FullName: "acme/app"},
		Changes: []webhook.Change{{Kind: webhook.Branch, Name: "main", Action: webhook.Updated, Old: one, Commit: two,
			Message: "Say \"hi\"\n"}},
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

func TestW13AnAnnotatedTagOfDataCenterIsPeeledWhereItIsKnown(t *testing.T) {
	c := file(t, "repo.refs_changed--tag-annotated").Changes[0]
	if c.Commit != "e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98" || c.Message == "" {
		t.Errorf("single change: got %+v, want the commit toCommit", c)
	}
	for _, c := range file(t, "repo.refs_changed--two-annotated-tags").Changes {
		if c.Commit == "e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98" {
			t.Errorf("commit of %s: got toCommit, want none: it can belong to either of two changes", c.Name)
		}
	}
}

func TestPullRequestsOfBothFlavours(t *testing.T) {
	const dcHead = "a0f1490a20d0211c997b44bc357e1972deab8ae3" // of the payloads' fromRef
	base := webhook.Change{Kind: webhook.PullRequest, Name: "17", Source: "feature/login", Target: "main"}
	for _, row := range []struct {
		file string
		want func(*webhook.Change)
	}{
		{"pullrequest.created--internal", func(c *webhook.Change) { c.Action, c.Commit = webhook.Opened, "49c794b6ce70" }},
		{"pullrequest.created--fork",
			func(c *webhook.Change) { c.Action, c.Commit, c.Fork = webhook.Opened, "49c794b6ce70", true }},
		{"pullrequest.updated--source-repository-gone",
			func(c *webhook.Change) { c.Action, c.Commit, c.Fork = webhook.Updated, "49c794b6ce70", true }},
		{"pullrequest.updated--everything-gone",
			func(c *webhook.Change) { c.Action, c.Source, c.Fork = webhook.Updated, "x", true }},
		{"pullrequest.fulfilled--merged", func(c *webhook.Change) { c.Action, c.Commit = webhook.Closed, "49c794b6ce70" }},
		{"pullrequest.approved--approval",
			func(c *webhook.Change) { c.Action, c.Commit = webhook.Commented, "49c794b6ce70" }},
		{"pr.opened--internal", func(c *webhook.Change) { c.Action, c.Commit = webhook.Opened, dcHead }},
		{"pr.opened--fork", func(c *webhook.Change) { c.Action, c.Commit, c.Fork = webhook.Opened, dcHead, true }},
		{"pr.opened--from-tag", func(c *webhook.Change) { c.Action, c.Commit, c.Source = webhook.Opened, dcHead, "v1.2" }},
		{"pr.from_ref_updated--new-commits", func(c *webhook.Change) {
			c.Action, c.Commit, c.Old = webhook.Updated, dcHead, "51de2b835bd35a67eb32dbcd3d77d4b96e5aa39d"
		}},
		{"pr.modified--title-only", func(c *webhook.Change) { c.Action, c.Commit, c.Old = webhook.Updated, dcHead, dcHead }},
		{"pr.modified--other-target", func(c *webhook.Change) { c.Action, c.Commit = webhook.Updated, dcHead }},
		{"pr.deleted--deleted", func(c *webhook.Change) { c.Action, c.Commit = webhook.Closed, dcHead }},
		{"pr.comment.added--comment", func(c *webhook.Change) { c.Action, c.Commit = webhook.Commented, dcHead }},
		{"pullrequest.created--plugin", func(c *webhook.Change) { c.Action, c.Commit = webhook.Opened, dcHead }},
	} {
		t.Run(row.file, func(t *testing.T) {
			want := base
			row.want(&want)
			if diff := cmp.Diff([]webhook.Change{want}, file(t, row.file).Changes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRepositoryOfEachShape(t *testing.T) {
	for name, want := range map[string]webhook.Repository{
		"repo.push--branch-updated":                   {UUID: "{7f3f1d0c-52ab-4c5e-9f0e-0d5a3b8c1e11}", FullName: "acme/app"},
		"repo.push--old-repository-without-uuid":      {FullName: "acme/app"},
		"repo.refs_changed--branch-updated":           {ID: "84", FullName: "APP/app"},
		"repo.refs_changed--personal-repository":      {ID: "91", FullName: "~ada/tools"},
		"repo.push--plugin":                           {FullName: "APP/app"},
		"pr.opened--fork":                             {ID: "84", FullName: "APP/app"},
		"repo.fork--forked":                           {UUID: "{7f3f1d0c-52ab-4c5e-9f0e-0d5a3b8c1e11}", FullName: "acme/app"},
		"mirror.repo_synchronized--incremental":       {ID: "84", FullName: "APP/app"},
		"mirror.repo_synchronized--too-many-refs":     {ID: "84", FullName: "APP/app"},
		"repo.refs_changed--date-in-milliseconds":     {ID: "84", FullName: "APP/app"},
		"repo.refs_changed--date-with-colon":          {ID: "84", FullName: "APP/app"},
		"pullrequest.updated--source-repository-gone": {UUID: "{7f3f1d0c-52ab-4c5e-9f0e-0d5a3b8c1e11}", FullName: "acme/app"},
	} {
		if got := file(t, name).Repository; got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestI5ChangesBeyondTheFirstThousandAreCounted(t *testing.T) {
	change := `{"new":{"type":"tag","name":"v%d","target":{"hash":"` + one + `"}}}`
	var changes []string
	for i := range 1234 {
		changes = append(changes, fmt.Sprintf(change, i))
	}
	e, err := webhook.Parse(webhook.Cloud, "repo:push", []byte(`{"push":{"changes":[`+strings.Join(changes, ",")+`]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Changes) != webhook.MaxChanges {
		t.Errorf("changes: got %d, want %d", len(e.Changes), webhook.MaxChanges)
	}
	if len(e.Skipped) != 1 || !strings.HasPrefix(e.Skipped[0], "234 more changes") {
		t.Errorf("skipped: got %v, want 234 more changes", e.Skipped)
	}
}

func TestABodyOverTheLimitIsNotRead(t *testing.T) {
	for flavor, limit := range map[webhook.Flavor]int{webhook.Cloud: 1 << 20, webhook.DataCenter: 10 << 20} {
		if _, err := webhook.Parse(flavor, "repo:push", make([]byte, limit+1)); !errors.Is(err, webhook.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", flavor, err)
		}
	}
}

// Parsing ten MiB of the smallest elements must not take a multiple of their size in memory.
func TestI5W24ABodyOfManyEmptyElementsIsReadInBoundedMemory(t *testing.T) {
	body := []byte(`{"changes":[` + strings.Repeat("0,", 5<<20-20) + `0]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := webhook.Parse(webhook.DataCenter, "repo:refs_changed", body)
	runtime.ReadMemStats(&after) // TotalAlloc never falls: an upper bound of the memory in use
	if err == nil {
		t.Error("a number in place of a change: got no error, want one")
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 128<<20 {
		t.Errorf("allocated memory: got %d MiB, want at most 128", used>>20)
	}
}

func TestI5W24DeepNestingIsAnErrorAndNoCrash(t *testing.T) {
	body := []byte(`{"push":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`)
	if _, err := webhook.Parse(webhook.Cloud, "repo:push", body); err == nil {
		t.Error("parse: got no error, want one")
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	pr := `{"pullrequest":{"id":1,"source":{"commit":{"hash":%s}},"destination":{"branch":{"name":%s}}}}`
	for _, row := range []struct {
		flavor            webhook.Flavor
		event, body, want string
	}{
		{webhook.Cloud, "pullrequest:created", fmt.Sprintf(pr, `"abc"`, `"main"`), "pullrequest.source.commit.hash: not a commit hash of 12 to 40 hex digits"},
		{webhook.Cloud, "pullrequest:created", fmt.Sprintf(pr, `true`, `"main"`), "pullrequest.source.commit.hash: a boolean in place of a string"},
		{webhook.Cloud, "pullrequest:created", fmt.Sprintf(pr, `null`, `""`), "pullrequest.destination.branch.name: empty"},
		{webhook.Cloud, "pullrequest:created", `{"pullrequest":{"id":-1}}`, "pullrequest.id: a number in place of a whole number"},
		{webhook.Cloud, "pullrequest:created", `{"pullrequest":[]}`, "pullrequest: a list in place of an object"},
		{webhook.Cloud, "pullrequest:created", `{}`, "pullrequest.id: missing"},
		{webhook.DataCenter, "pr:opened", `{"pullRequest":{"id":1,"fromRef":{}}}`, "pullRequest.toRef.id: missing"},
		{webhook.DataCenter, "repo:refs_changed", `{"changes":[{}]}`, "changes[0].ref.id: missing"},
		{webhook.DataCenter, "repo:refs_changed", `{"changes":[{"refId":"refs/heads/x"}]}`, "changes[0].type: missing"},
		{webhook.DataCenter, "repo:refs_changed", `{"changes":[{"refId":"refs/heads/x","type":"MOVE"}]}`, "changes[0].type: none of ADD, UPDATE and DELETE"},
		{webhook.DataCenter, "repo:refs_changed", `{"changes":[{"refId":"refs/heads/x","type":"ADD","toHash":""}]}`, "changes[0].toHash: empty"},
		{webhook.Cloud, "repo:push", `null`, "payload: null in place of an object"},
		{webhook.Cloud, "repo:push", `{} {}`, "payload: not valid JSON at byte 4"},
	} {
		_, err := webhook.Parse(row.flavor, row.event, []byte(row.body))
		if err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s %s: got error %v, want %s", row.event, row.body, err, row.want)
		}
	}
}

// I6: Each value of the sample payloads is deleted, set to null and given every other type.
// Without SLIPWAY_TRUST=1, which tries all 50,000 cases, the test changes a shared place in one
// payload only and tries every fourth case.
func TestI6NoMutationOfAPayloadPanics(t *testing.T) {
	all := os.Getenv("SLIPWAY_TRUST") != ""
	count, tried := 0, map[string]bool{}
	for _, p := range payloads(t) {
		var whole any
		if err := json.Unmarshal(p.body, &whole); err != nil {
			t.Fatal(err)
		}
		first := func(place string) bool {
			before := tried[p.event+place]
			tried[p.event+place] = true
			return !before || all
		}
		webhooktest.Mutate(whole, first, func() {
			count++
			if count%4 != 0 && !all {
				return
			}
			body, err := json.Marshal(whole)
			if err != nil {
				t.Fatal(err)
			}
			e, err := webhook.Parse(p.flavor, p.event, body)
			checkEvent(t, e, err)
		})
	}
	t.Logf("%d mutations", count)
	if count < 10_000 {
		t.Errorf("mutations: got %d, want at least 10000", count)
	}
}

// checkEvent checks the properties of an event that its users rely on.
func checkEvent(t *testing.T, e webhook.Event, err error) {
	t.Helper()
	if err != nil {
		if len(e.Changes) > 0 || strings.Contains(err.Error(), "\n") {
			t.Errorf("parse: got error %v with %d changes, want one or the other", err, len(e.Changes))
		}
		return
	}
	for _, c := range e.Changes {
		switch {
		case c.Name == "":
			t.Errorf("change: got %+v, want a name", c)
		case c.Kind == webhook.PullRequest:
			if c.Target == "" {
				t.Errorf("pull request: got %+v, want a target", c)
			}
		case c.Action == webhook.Deleted && c.Commit != "", c.Action != webhook.Deleted && len(c.Commit) != 40:
			t.Errorf("commit of %s: got %q, want 40 hex digits, or none if deleted", c.Action, c.Commit)
		case c.Old != "" && len(c.Old) != 40:
			t.Errorf("old commit: got %q, want 40 hex digits or none", c.Old)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range payloads(f) {
		f.Add(p.flavor == webhook.Cloud, p.event, p.body)
	}
	f.Fuzz(func(t *testing.T, cloud bool, event string, body []byte) {
		flavor := webhook.DataCenter
		if cloud {
			flavor = webhook.Cloud
		}
		e, err := webhook.Parse(flavor, event, body)
		checkEvent(t, e, err)
		if err == nil && e.Ignored == "" && event == "repo:push" {
			checkPush(t, e, body)
		}
	})
}

// checkPush compares the event with the same push in the decoded payload. Every entry is a change
// or a skipped line, and the name and the commit of each change match.
func checkPush(t *testing.T, e webhook.Event, body []byte) {
	t.Helper()
	var whole any
	if err := json.Unmarshal(body, &whole); err != nil {
		t.Fatalf("accepted an invalid JSON body: %v", err)
	}
	entries, _ := at(whole, "push", "changes").([]any)
	if n := len(e.Changes) + len(e.Skipped); len(entries) <= webhook.MaxChanges && n != len(entries) {
		t.Errorf("%d entries: got %d changes and skipped entries, want one for each", len(entries), n)
	}
	for _, c := range e.Changes {
		side := "new"
		if c.Action == webhook.Deleted {
			side = "old"
		}
		if !slices.ContainsFunc(entries, func(entry any) bool {
			hash, _ := at(entry, side, "target", "hash").(string)
			return at(entry, side, "name") == c.Name && (c.Commit == "" || strings.EqualFold(hash, c.Commit))
		}) {
			t.Errorf("change: got %+v, want one of the payload", c)
		}
	}
}

// at returns the value at a position, or nil.
func at(v any, keys ...string) any {
	for _, key := range keys {
		object, _ := v.(map[string]any)
		v = object[key]
	}
	return v
}
