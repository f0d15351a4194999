package planner_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

func TestW18ARenamedRepositoryIsFollowed(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.App.Rename("renamed")
	head := w.Commit("main", "A")
	w.PlanAll()
	w.WantCommits(head)
	for _, b := range w.Builds() {
		if b.Repository.FullName != "acme/renamed" {
			t.Errorf(`repository of the build: got %s, want "acme/renamed"`, b.Repository.FullName)
		}
	}
	hook, err := w.Store.Hook(t.Context(), w.Hook.ID)
	must.Succeed(t, err)
	if hook.Repository.FullName != "acme/renamed" {
		t.Errorf("full name: got %q, want %q", hook.Repository.FullName, "acme/renamed")
	}
	if hook.Repository.ID != w.Repo.ID {
		t.Errorf("repository ID: got %v, want %v", hook.Repository.ID, w.Repo.ID)
	}
}

// O1, I7: A repository name that only the payload contains changes nothing.
func TestI7ANameInThePayloadOnlyIsIgnored(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.Commit("main", "A")
	body := strings.ReplaceAll(string(w.Bodies()[0]), "acme/app", "evil/../app")
	w.Plan([]byte(body))
	if b := w.Builds()[0]; b.Repository.FullName != "acme/app" {
		t.Errorf(`repository of the build: got %s, want "acme/app"`, b.Repository.FullName)
	}
	if n := w.Faults.Count("evil"); n != 0 {
		t.Errorf("calls with the payload's name: got %d, want none", n)
	}
}

// O1: The planner calls no host named in a payload. Builds fetch from the configured origin.
func TestO1LinksOfAPayloadAreNeverFollowed(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	var called atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Add(1) }))
	defer evil.Close()
	var whole any
	must.Succeed(t, json.Unmarshal(w.Bodies()[0], &whole))
	poison(whole, evil.URL)
	body, err := json.Marshal(whole)
	must.Succeed(t, err)
	d := w.Plan(body)
	w.WantCommits(head)
	if d.State != autobuild.DeliveryPlanned || called.Load() != 0 {
		t.Errorf(
			"delivery: got state %s, reason %s, %d calls of the attacker, want planned without a call",
			d.State,
			d.Reason,
			called.Load(),
		)
	}
	if got := w.Builds()[0].Repository.FullName; got != "acme/app" {
		t.Errorf(`repository of the build: got %s, want "acme/app"`, got)
	}
}

// poison adds links to an attacker's host to every object of a payload.
func poison(v any, to string) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			poison(inner, to)
		}
		link := map[string]any{"href": to + "/x.git", "name": "https"}
		v["links"] = map[string]any{"self": link, "html": link, "commits": link, "diff": link, "avatar": link,
			"clone": []any{link, link}}
		v["website"], v["url"], v["cloneUrl"] = to, to, to
	case []any:
		for _, inner := range v {
			poison(inner, to)
		}
	}
}
