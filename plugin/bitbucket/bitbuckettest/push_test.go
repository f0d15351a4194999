package bitbuckettest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestAPushOfManyRefsIsOneSignedWebhook(t *testing.T) {
	e := newEnv(t)
	hooked := newReceiver(t, ok)
	uuid := e.addHook(t, hooked.URL+"/hooks/1", "s3cret")
	first, err := e.app.Commit(t.Context(), "main", map[string]string{"Dockerfile": "FROM scratch\n"}, "First")
	must.Succeed(t, err)
	must.Succeed(t, e.app.Push(t.Context(), map[string]string{"refs/heads/old": first}))
	must.Succeed(t, e.WaitIdle(t.Context()))

	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, "/", "clone", e.cloneURL("alice", "alice's git password"), work)
	must.Succeed(t, os.WriteFile(filepath.Join(work, "big.bin"), incompressible(1<<20), 0o600))
	mustGit(t, work, "add", ".")
	mustGit(t, work, "commit", "-m", "Second")
	mustGit(t, work, "tag", "v1")
	mustGit(t, work, "tag", "-a", "-m", "The second", "feature/v2")
	head := mustGit(t, work, "rev-parse", "HEAD")
	mustGit(t, work, "push", "origin", "main", "v1", "feature/v2", ":old")
	must.Succeed(t, e.WaitIdle(t.Context()))

	hooked.mu.Lock()
	defer hooked.mu.Unlock()
	if len(hooked.requests) != 3 {
		t.Fatalf("webhooks: got %d, want 3: one for each push", len(hooked.requests))
	}
	request, body := hooked.requests[2], hooked.bodies[2]
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte(body))
	for name, want := range map[string]string{
		"X-Event-Key": "repo:push", "X-Hook-UUID": strings.Trim(uuid, "{}"), "X-Attempt-Number": "1",
		"User-Agent": "Bitbucket-Webhooks/2.0", "Content-Type": "application/json",
		"X-Hub-Signature": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		if got := request.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	var payload any
	must.Succeed(t, json.Unmarshal([]byte(body), &payload))
	changes, _ := dig(payload, "push", "changes").([]any)
	if len(changes) != 4 {
		t.Fatalf("changes: got %d, want 4: %s", len(changes), body)
	}
	for _, change := range changes {
		_, commits := change.(map[string]any)["commits"]
		if tag := dig(change, "new", "type") == "tag"; tag && commits {
			t.Errorf("commits of a tag: got %v, want none", change)
		}
	}
	for i, want := range []struct{ side, kind, name, hash string }{
		{"new", "branch", "main", head}, {"old", "branch", "old", first}, {"new", "tag", "feature/v2", head}, {"new", "tag", "v1", head},
	} {
		got := []any{
			dig(changes[i], want.side, "type"),
			dig(changes[i], want.side, "name"),
			dig(changes[i], want.side, "target", "hash"),
		}
		if fmt.Sprint(got) != fmt.Sprint([]any{want.kind, want.name, want.hash}) {
			t.Errorf("change %d: got %v, want %+v", i, got, want)
		}
	}
	if got := dig(changes[2], "new", "message"); got != "The second\n" {
		t.Errorf("annotated tag: got message %v, want The second", got)
	}
	if got := dig(changes[2], "new", "tagger", "raw"); got != "Carol <carol@elsewhere.example>" {
		t.Errorf("annotated tag: got tagger %v, want Carol", got)
	}
	if got := dig(changes[3], "new", "message"); got != nil {
		t.Errorf("lightweight tag: got message %v, want none", got)
	}
	if got := dig(payload, "actor", "nickname"); got != "alice" {
		t.Errorf("actor: got %v, want alice", got)
	}
	if got := dig(changes[0], "new", "target", "author", "user"); got != nil {
		t.Errorf("new commit: got user %v, want none for an unknown address", got)
	}
	if got := dig(changes[0], "old", "target", "author", "user", "nickname"); got != "alice" {
		t.Errorf("old commit: got author %v, want alice", got)
	}
}

// payloads are the changes of every webhook so far, push by push.
func (r *receiver) changes(t *testing.T) [][]any {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var pushes [][]any
	for _, body := range r.bodies {
		var payload any
		must.Succeed(t, json.Unmarshal([]byte(body), &payload))
		changes, _ := dig(payload, "push", "changes").([]any)
		pushes = append(pushes, changes)
	}
	return pushes
}

func TestChangesOfBranches(t *testing.T) {
	e := newEnv(t)
	hooked := newReceiver(t, ok)
	e.addHook(t, hooked.URL, "")
	ctx := t.Context()
	var hashes []string
	parent := ""
	for i := range 7 {
		hash, err := e.app.Write(
			ctx,
			bitbuckettest.NewCommit{
				Parent:  parent,
				Message: fmt.Sprint("Commit ", i),
				Files:   map[string]string{"n": fmt.Sprint(i)},
			},
		)
		must.Succeed(t, err)
		hashes, parent = append(hashes, hash), hash
	}
	main := func(hash string) map[string]string { return map[string]string{"refs/heads/main": hash} }
	must.Succeed(t, e.app.Push(ctx, main(hashes[2]))) // three commits, created
	must.Succeed(t, e.app.Push(ctx, main(hashes[4]))) // two commits
	must.Succeed(t, e.app.Push(ctx, main(hashes[4]))) // nothing moves: no webhook
	must.Succeed(
		t,
		e.app.Push(ctx, main(hashes[3])),
	) // backwards: forced, no commits
	must.Succeed(t, e.app.Push(ctx, map[string]string{"refs/heads/topic/ü": hashes[6]}))   // more than five
	must.Succeed(t, e.app.PushAs(ctx, e.bob, map[string]string{"refs/heads/topic/ü": ""})) // deleted
	must.Succeed(t, e.WaitIdle(ctx))

	type row struct {
		created, closed, forced, truncated bool
		commits                            []string
	}
	want := []row{
		{created: true, commits: []string{hashes[2], hashes[1], hashes[0]}},
		{commits: []string{hashes[4], hashes[3]}},
		{forced: true},
		{created: true, truncated: true, commits: []string{hashes[6], hashes[5], hashes[4], hashes[3], hashes[2]}},
		{closed: true},
	}
	pushes := hooked.changes(t)
	if len(pushes) != len(want) {
		t.Fatalf("webhooks: got %d, want %d", len(pushes), len(want))
	}
	for i, changes := range pushes {
		var got row
		for name, field := range map[string]*bool{"created": &got.created, "closed": &got.closed, "forced": &got.forced, "truncated": &got.truncated} {
			*field, _ = dig(changes, 0, name).(bool)
		}
		commits, _ := dig(changes, 0, "commits").([]any)
		for _, c := range commits {
			got.commits = append(got.commits, dig(c, "hash").(string))
		}
		if fmt.Sprint(got) != fmt.Sprint(want[i]) {
			t.Errorf("push %d:\n got %v\nwant %v", i+1, got, want[i])
		}
	}
	if name := dig(pushes[4], 0, "old", "name"); name != "topic/ü" {
		t.Errorf("deleted branch: got %v, want %v", name, "topic/ü")
	}
}

func TestMainBranchFollowsTheFirstPush(t *testing.T) {
	e := newEnv(t)
	if _, repo := e.call(t, "GET", "/2.0/repositories/acme/app", nil); repo["mainbranch"] != nil {
		t.Errorf("main branch of an empty repository: got %v, want none", repo["mainbranch"])
	}
	first, err := e.app.Commit(t.Context(), "develop", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	must.Succeed(t, e.app.Push(t.Context(), map[string]string{"refs/heads/main": first}))
	if _, repo := e.call(t, "GET", "/2.0/repositories/acme/app", nil); dig(repo, "mainbranch", "name") != "develop" {
		t.Errorf("main branch after the first push: got %v, want develop", repo["mainbranch"])
	}
}

func TestPushesAreAllOrNothing(t *testing.T) {
	e := newEnv(t)
	first, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	err = e.app.Push(t.Context(), map[string]string{"refs/heads/a": first, "refs/heads/b": strings.Repeat("1", 40)})
	if err == nil {
		t.Error("push an unknown object: got no error, want one")
	}
	if status, _ := e.call(t, "GET", "/2.0/repositories/acme/app/refs/branches/a", nil); status != http.StatusNotFound {
		t.Errorf("a ref of the rejected push: got %d, want %d", status, http.StatusNotFound)
	}
	if _, err := e.app.Write(t.Context(), bitbuckettest.NewCommit{Parent: "nowhere"}); err == nil {
		t.Error("write a commit with an unknown parent: got no error, want one")
	}
}
