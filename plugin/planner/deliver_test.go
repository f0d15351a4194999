package planner_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

func TestAPushBecomesABuildWithAllFieldsOfTheRule(t *testing.T) {
	w := plannertest.New(t)
	rule := plannertest.BranchRule("main", "latest,{sourceref}")
	rule.Context, rule.Dockerfile, rule.Caching = "/svc", "docker/Dockerfile", false
	rule.BuildArgs, rule.Platforms = map[string]string{"REF": "{sourceref}"}, []string{"linux/amd64"}
	a := w.Automate("registry.example.com/acme/app", rule)
	head := w.Commit("main", "First commit")
	d := w.PlanAll()[0]

	if d.State != autobuild.DeliveryPlanned {
		t.Errorf("state: got %v, want %v", d.State, autobuild.DeliveryPlanned)
	}
	if d.Reason != "1 build" {
		t.Errorf("reason: got %q, want %q", d.Reason, "1 build")
	}
	got := w.Builds()[0]
	want := autobuild.Build{
		ID:               got.ID,
		Number:           1,
		AutomatedBuildID: a.ID,
		RuleID:           a.Rules[0].ID,
		Repository:       w.Repo,
		Ref:              plannertest.Branch("main"),
		Seq:              1,
		Commit: autobuild.Commit{
			Hash:    head,
			Message: "First commit\n",
			Author:  "alice",
			Date:    got.Commit.Date,
		},
		Image:      "registry.example.com/acme/app",
		Tags:       []string{"latest", "main"},
		Dockerfile: "svc/docker/Dockerfile",
		Context:    "svc",
		BuildArgs:  map[string]string{"REF": "main"},
		Platforms:  []string{"linux/amd64"},
		Caching:    false,
		Publish:    true,
		Cause:      autobuild.CausePush,
		DeliveryID: d.ID,
		State:      autobuild.Queued,
		ReceivedAt: w.Clock(),
		CreatedAt:  w.Clock(),
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("ms", time.Time.UnixMilli)); diff != "" {
		t.Errorf("build (-want +got):\n%s", diff)
	}
	if n := d.Outcomes[0].Rules[0].BuildNumber; n != 1 {
		t.Errorf("build number of the outcome: got %d, want 1", n)
	}
}

func TestABAGivesThreeBuilds(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	b := w.Commit("main", "B")
	w.Push(map[string]string{"refs/heads/main": a}) // all three are there before the first is planned
	w.PlanAll()
	w.WantCommits(a, b, a)
	if got := w.State(plannertest.Branch("main")); got != (autobuild.RefState{Head: a, Seq: 3}) {
		t.Errorf("state of main: got %+v, want head %s and transition 3", got, a)
	}
}

func TestABAPlannedOneByOneGivesThreeBuilds(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	w.PlanAll()
	b := w.Commit("main", "B")
	w.PlanAll()
	w.Push(map[string]string{"refs/heads/main": a})
	w.PlanAll()
	w.WantCommits(a, b, a)
}

func TestTenDeliveriesOneBuild(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	body := w.Bodies()[0]
	for i := range 10 {
		d := w.Plan(body)
		if i > 0 &&
			(d.State != autobuild.DeliveryIgnored || !strings.HasPrefix(d.Reason, "already seen: branch main is at ")) {
			t.Errorf("delivery %d: got state %s, reason %s, want ignored as already seen", i, d.State, d.Reason)
		}
	}
	w.WantCommits(head)
}

func TestTwoTagsOnOneCommitAreTwoBuilds(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.TagRule("/^v(.*)$/", `{\1}`))
	head := w.Commit("main", "A")
	object, err := w.App.Annotate(t.Context(), "v2", head, "annotated")
	must.Succeed(t, err)
	w.Push(map[string]string{"refs/tags/v1": head, "refs/tags/v2": object}) // W13: lightweight and annotated
	w.PlanAll()
	w.WantCommits(head, head)
	builds := w.Builds()
	if builds[0].Ref != plannertest.Tag("v1") {
		t.Errorf("ref: got %v, want %v", builds[0].Ref, plannertest.Tag("v1"))
	}
	if builds[1].Ref != plannertest.Tag("v2") {
		t.Errorf("ref: got %v, want %v", builds[1].Ref, plannertest.Tag("v2"))
	}
	if builds[0].Tags[0] != "1" {
		t.Errorf("tags: got %q, want %q", builds[0].Tags[0], "1")
	}
	if builds[1].Tags[0] != "2" {
		t.Errorf("tags: got %q, want %q", builds[1].Tags[0], "2")
	}
}

func TestEveryRuleOfEveryAutomatedBuildAnswers(t *testing.T) {
	w := plannertest.New(t)
	off := plannertest.BranchRule("main", "off")
	off.Autobuild = false
	w.Automate("r/one", plannertest.BranchRule("main", "latest"), plannertest.TagRule("main", "no"),
		plannertest.BranchRule("/^m/", "second"))
	w.Automate("r/two", off)
	head := w.Commit("main", "A")
	d := w.PlanAll()[0]
	w.WantCommits(head, head)
	var got []string
	for _, r := range d.Outcomes[0].Rules {
		got = append(got, fmt.Sprintf("%t %d", r.Decision.Build, r.BuildNumber))
	}
	if want := []string{"true 1", "false 0", "true 2", "false 0"}; !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

func TestW4I7ADeliveryForAnotherRepositoryIsRefused(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	w.Commit("main", "A")
	body := w.Bodies()[0]
	for name, uuid := range map[string]string{"another": "{00000000-0000-4000-a000-000000000000}", "none": ""} {
		forged := []byte(strings.ReplaceAll(string(body), w.Repo.ID, uuid))
		d := w.Plan(forged)
		if d.State != autobuild.DeliveryRefused || d.Reason == "" {
			t.Errorf("%s: got state %s, reason %q, want refused with a reason", name, d.State, d.Reason)
		}
	}
	hook, err := w.Store.Hook(t.Context(), w.Hook.ID)
	must.Succeed(t, err)
	if hook.Repository != w.Repo {
		t.Errorf("the hook's repository: got %+v, want %+v", hook.Repository, w.Repo)
	}
	w.WantCommits()
}

func TestW9DeletionsBuildNothing(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("/.*/", "latest"))
	w.Commit("main", "A")
	w.PlanAll()
	w.Push(map[string]string{"refs/heads/main": ""})
	d := w.PlanAll()[0]
	if d.State != autobuild.DeliveryPlanned {
		t.Errorf("state: got %v, want %v", d.State, autobuild.DeliveryPlanned)
	}
	if d.Reason != "no rule builds this" {
		t.Errorf("reason: got %q, want %q", d.Reason, "no rule builds this")
	}
	if d.Outcomes[0].Refused != "deleted: nothing to build" {
		t.Errorf("refused: got %q, want %q", d.Outcomes[0].Refused, "deleted: nothing to build")
	}
	if got := w.State(plannertest.Branch("main")); got != (autobuild.RefState{Seq: 2}) {
		t.Errorf("state of main: got %+v, want no head and transition 2", got)
	}
	empty := w.Plan([]byte(`{"repository":{"uuid":"` + w.Repo.ID + `"},"push":{"changes":[]}}`))
	if empty.State != autobuild.DeliveryIgnored {
		t.Errorf("empty push: got state %s, reason %s, want ignored", empty.State, empty.Reason)
	}
}

func TestARefReCreatedAtTheSameCommitBuildsAgain(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.TagRule("v1", "1"))
	head := w.Commit("main", "A")
	for _, object := range []string{head, "", head} {
		w.Push(map[string]string{"refs/tags/v1": object})
	}
	w.PlanAll()
	w.WantCommits(head, head)
}

func TestW11AForcePushBuildsTheNewHead(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	other, err := w.App.Write(t.Context(), bitbuckettestCommit("forced"))
	must.Succeed(t, err)
	w.Push(map[string]string{"refs/heads/main": other})
	w.PlanAll()
	w.WantCommits(a, other)
}

func TestW15ARedeliveryAfterTheBranchMovedBuildsNothing(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a, b := w.Commit("main", "A"), w.Commit("main", "B")
	bodies := w.Bodies()
	w.PlanAll()
	for _, body := range bodies {
		if d := w.Plan(body); d.State != autobuild.DeliveryIgnored {
			t.Errorf("delivery: got state %s, reason %s, want ignored", d.State, d.Reason)
		}
	}
	w.WantCommits(a, b)
}

func TestW16TwoHooksOnePush(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	w.Plan(w.Bodies()[0])
	d := w.Plan(w.Bodies()[0])
	if d.State != autobuild.DeliveryIgnored || !strings.Contains(d.Outcomes[0].Refused, "already seen") {
		t.Errorf("delivery: got state %s, outcomes %+v, want ignored as already seen", d.State, d.Outcomes)
	}
	w.WantCommits(head)
}

// I3: A replay within a year builds nothing, even if the branch is back at the replayed push's
// start.
func TestI3AReplayedDeliveryBuildsNothing(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a := w.Commit("main", "A")
	b := w.Commit("main", "B")
	bodies := w.Bodies()
	w.PlanAll()
	w.Push(map[string]string{"refs/heads/main": a})
	w.PlanAll()
	replays := 6
	if os.Getenv("SLIPWAY_TRUST") != "" {
		replays = 1000
	}
	for range replays / len(bodies) {
		for _, body := range bodies {
			w.Advance(365 * 24 * time.Hour / time.Duration(replays))
			w.Plan(body)
		}
	}
	w.WantCommits(a, b, a)
}

// I3: A delivery that was refused because it was late is refused again later.
func TestI3ARefusedDeliveryIsRememberedToo(t *testing.T) {
	w := plannertest.New(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	a, b, c := w.Commit("main", "A"), w.Commit("main", "B"), w.Commit("main", "C")
	bodies := w.Bodies()
	w.Plan(bodies[2])                               // B→C first: at C
	w.Plan(bodies[1])                               // A→B is out of date
	w.Push(map[string]string{"refs/heads/main": a}) // back to A
	w.Plan(w.Bodies()[3])
	w.Plan(bodies[1]) // replayed where it would fit
	w.WantCommits(c, a)
	_ = b
}

func TestW19EventsThatAreNoneOfOurs(t *testing.T) {
	w := plannertest.New(t)
	for _, tt := range []struct {
		event, body string
		want        autobuild.DeliveryState
	}{
		{"issue:created", `{}`, autobuild.DeliveryIgnored},
		{"repo:push", `{"push":`, autobuild.DeliveryFailed},
		{"repo:push", `{"repository":{"uuid":"` + w.Repo.ID + `"},"push":{"changes":"none"}}`, autobuild.DeliveryFailed},
	} {
		id := w.Receive(w.Hook, tt.event, []byte(tt.body))
		must.Succeed(t, w.Deliver(t.Context(), id))
		d := w.Delivery(id)
		if d.State != tt.want {
			t.Errorf("state: got %v, want %v", d.State, tt.want)
		}
		if d.Reason == "" {
			t.Error("reason: got none, want one")
		}
	}
}

func TestPullRequestsAreIgnoredWithAReason(t *testing.T) {
	w := plannertest.New(t)
	body := `{"repository":{"uuid":"` + w.Repo.ID + `","full_name":"acme/app"},"pullrequest":{"id":7,
		"source":{"branch":{"name":"fix"},"commit":{"hash":"0123456789ab"},"repository":{"uuid":"` + w.Repo.ID + `"}},
		"destination":{"branch":{"name":"main"},"repository":{"uuid":"` + w.Repo.ID + `"}}}}`
	id := w.Receive(w.Hook, "pullrequest:created", []byte(body))
	must.Succeed(t, w.Deliver(t.Context(), id))
	if d := w.Delivery(id); d.State != autobuild.DeliveryIgnored || !strings.Contains(d.Reason, "pull requests") {
		t.Errorf("delivery: got state %s, reason %s, want ignored for its pull requests", d.State, d.Reason)
	}
}
