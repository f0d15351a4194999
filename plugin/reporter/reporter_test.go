package reporter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

func TestS1EveryStateIsReported(t *testing.T) {
	for _, tt := range []struct {
		state  autobuild.State
		reason autobuild.Reason
		detail string
		want   string
	}{
		{autobuild.Succeeded, "", "", "SUCCESSFUL built in 42s, pushed 1.2, latest"},
		{autobuild.Failed, autobuild.ReasonBuild, "RUN make: exit\ncode 2", "FAILED failed: RUN make: exit code 2"},
		{autobuild.Failed, autobuild.ReasonCommitGone, "", "FAILED failed: commit gone"},
		{autobuild.Cancelled, autobuild.ReasonUser, "cancelled by alice", "STOPPED cancelled: cancelled by alice"},
		{autobuild.Errored, autobuild.ReasonLost, "the runner is gone",
			"FAILED error, not caused by the repository: the runner is gone"},
	} {
		t.Run(string(tt.state)+string(tt.reason), func(t *testing.T) {
			o := newEnv(t)
			b := o.build("releases", main1)
			o.report(b)
			a := o.run(b)
			o.report(b)
			o.now = o.now.Add(42 * time.Second)
			o.finish(a, tt.state, tt.reason, tt.detail)
			o.report(b)
			o.wantHistory("INPROGRESS waiting to be built", "INPROGRESS building", tt.want)
		})
	}
}

func TestTheStatusLinksToTheBuild(t *testing.T) {
	o := newEnv(t)
	b := o.build("releases", main1)
	o.report(b)
	instance, err := o.store.InstanceID(t.Context())
	must.Succeed(t, err)
	got := o.app.Statuses(o.commit.Hash)[0]
	key := autobuild.StatusKey(instance, o.owner.ID, "releases", "build", "refs/heads/main")
	if got.Key != key {
		t.Errorf("key: got %q, want %q", got.Key, key)
	}
	if len(got.Key) != 40 {
		t.Errorf("length of the key: got %d, want 40", len(got.Key))
	}
	if want := fmt.Sprintf("https://slipway.example.com/builds/%d", b.Number); got.URL != want {
		t.Errorf("link: got %q, want %q", got.URL, want)
	}
	if want := "r/app:1.2 (rule releases)"; got.Name != want {
		t.Errorf("name: got %q, want %q", got.Name, want)
	}
}

func TestS3TwoRulesOnOneCommitAreTwoStatuses(t *testing.T) {
	o := newEnv(t)
	o.report(o.build("one", main1))
	o.report(o.build("two", main1))
	if n := len(o.app.Statuses(o.commit.Hash)); n != 2 {
		t.Errorf("statuses: got %d, want 2", n)
	}
}

func TestTwoTagsOnOneCommitAreTwoStatuses(t *testing.T) {
	o := newEnv(t)
	o.report(o.build("one", v1))
	o.report(o.build("one", v2))
	if n := len(o.app.Statuses(o.commit.Hash)); n != 2 {
		t.Errorf("statuses: got %d, want 2", n)
	}
}

// A cancelled rebuild does not take the success from the commit.
func TestACancelledBuildLeavesAnEarlierSuccess(t *testing.T) {
	o := newEnv(t)
	first := o.build("one", main1)
	o.finish(o.run(first), autobuild.Succeeded, "", "")
	o.report(first)
	again := o.build("one", main1)
	o.report(again)
	_, err := o.store.CancelBuild(t.Context(), again.ID, autobuild.ReasonUser, "cancelled by alice")
	must.Succeed(t, err)
	o.report(again)
	failed := o.build("one", main1)
	o.finish(o.run(failed), autobuild.Failed, autobuild.ReasonBuild, "no")
	o.report(failed)
	o.wantHistory("SUCCESSFUL built in 0s, pushed 1.2, latest", "INPROGRESS waiting to be built",
		"SUCCESSFUL built in 0s, pushed 1.2, latest", "FAILED failed: no")
}

func TestS4ARetryKeepsItsKey(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	o.finish(o.run(b), autobuild.Failed, autobuild.ReasonBuild, "no")
	o.report(b)
	_, err := o.store.RetryBuild(t.Context(), b.ID, "alice")
	must.Succeed(t, err)
	o.report(b)
	o.finish(o.run(b), autobuild.Succeeded, "", "")
	o.report(b)
	o.wantHistory("FAILED failed: no", "INPROGRESS waiting: retried by alice",
		"SUCCESSFUL built in 0s, pushed 1.2, latest")
	if n := len(o.app.Statuses(o.commit.Hash)); n != 1 {
		t.Errorf("statuses: got %d, want 1", n)
	}
}

func TestTheAttemptIsReported(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	a := o.run(b)
	_, err := o.store.FinishAttempt(t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: a.Number, State: autobuild.Errored, Retry: true})
	must.Succeed(t, err)
	_, err = o.store.StartAttempt(t.Context(), b.ID, "embedded", "hash2", o.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	o.report(b)
	o.wantHistory("INPROGRESS starting, attempt 2")
}

func TestS5FailuresAreRetriedAndTheFinalStateWins(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	a := o.run(b)
	o.faults.status = 503
	o.wantSnooze(b, 2*time.Second)
	o.now = o.now.Add(time.Minute)
	o.wantSnooze(b, 15*time.Second)
	o.faults.status = 429
	o.wantSnooze(b, 2*time.Minute)
	o.finish(a, autobuild.Succeeded, "", "")
	o.now = o.now.Add(40 * time.Hour)
	o.faults.status = 502
	o.wantSnooze(b, time.Minute)
	o.faults.status = 0
	o.report(b)
	o.report(b) // a late task of an earlier state
	o.wantHistory("SUCCESSFUL built in 1m0s, pushed 1.2, latest")
}

// wantSnooze reports a build and checks that the report is postponed.
func (o *env) wantSnooze(b autobuild.Build, want time.Duration) {
	o.t.Helper()
	err := o.Report(o.t.Context(), b.ID)
	got, snoozed := queue.SnoozedFor(err)
	if !snoozed {
		o.t.Errorf("Report: got %v, want a snooze", err)
	}
	if got != want {
		o.t.Errorf("snooze: got %s, want %s", got, want)
	}
}

func TestS5AReportIsGivenUpAfterTwoDays(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	o.faults.status = 503
	o.now = o.now.Add(49 * time.Hour)
	o.report(b)
	o.wantProblem(b, "did not accept the status for two days")
}

func TestS6ARefusedStatusDoesNotFailTheBuild(t *testing.T) {
	for status, want := range map[int]string{
		403: "does not allow the linked account to set statuses", 404: "no longer has the commit", 400: "400",
	} {
		o := newEnv(t)
		b := o.build("one", main1)
		o.faults.status = status
		o.report(b)
		o.wantProblem(b, want)
		now, err := o.store.Build(t.Context(), b.ID)
		must.Succeed(t, err)
		if now.State != autobuild.Queued {
			t.Errorf("state of the build after HTTP %d: got %s, want queued", status, now.State)
		}
	}
}

// wantProblem checks the recorded problem of a build's report.
func (o *env) wantProblem(b autobuild.Build, want string) {
	o.t.Helper()
	reported, err := o.store.Reported(o.t.Context(), b.ID)
	must.Succeed(o.t, err)
	if !strings.Contains(reported.Problem, want) {
		o.t.Errorf("problem: got %q, want %q in it", reported.Problem, want)
	}
}

func TestReportsWaitWhileTheLinkIsBroken(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	o.account.err = fmt.Errorf("account: %w", autobuild.ErrUnauthorized)
	o.now = o.now.Add(10 * 24 * time.Hour)
	o.wantSnooze(b, time.Minute)
	o.account.err = nil
	o.report(b)
	o.wantHistory("INPROGRESS waiting to be built")

	other := o.build("two", main1)
	o.account.err = autobuild.ErrUnauthorized
	o.now = o.now.Add(31 * 24 * time.Hour)
	o.report(other)
	o.wantProblem(other, "not linked again")
}

func TestS7OnlyStatusesOfBranchesHaveARefName(t *testing.T) {
	o := newEnv(t)
	o.report(o.build("one", main1))
	o.report(o.build("one", v1))
	if got := o.app.Statuses(o.commit.Hash)[1].Refname; got != "" {
		t.Errorf("ref name of a tag's status: got %q, want none", got)
	}
	if got := o.app.Statuses(o.commit.Hash)[0].Refname; got != "main" {
		t.Errorf("ref name of a branch's status: got %q, want main", got)
	}
}

func TestOnlyTheNewestBuildOfACommitIsReported(t *testing.T) {
	o := newEnv(t)
	older, newer := o.build("one", main1), o.build("one", main1)
	o.finish(o.run(older), autobuild.Failed, autobuild.ReasonBuild, "old")
	o.report(newer)
	o.report(older)
	o.wantHistory("INPROGRESS waiting to be built")
}

func TestAReportedStateIsNotReportedAgain(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	for range 3 {
		o.report(b)
	}
	if o.faults.calls != 1 {
		t.Errorf("calls for statuses: got %d, want 1", o.faults.calls)
	}
	o.report(autobuild.Build{ID: "no such build"})
}

func TestAQueuedBuildReportsItsReason(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	must.Succeed(t, o.store.ExplainBuild(t.Context(), b.ID, "", "engine drone is not available"))
	o.report(b)
	o.wantHistory("INPROGRESS waiting: engine drone is not available")
}

func TestABuildWithoutAPushReportsThat(t *testing.T) {
	o := newEnv(t)
	b, _, err := o.store.CreateBuild(t.Context(), autobuild.Build{
		AutomatedBuildID: o.owner.ID, RuleID: "one", Repository: o.repo, Ref: main1, Commit: o.commit, Image: "r/app",
	})
	must.Succeed(t, err)
	o.finish(o.run(b), autobuild.Succeeded, "", "")
	o.report(b)
	o.wantHistory("SUCCESSFUL built in 0s, not pushed")
}

func TestQueuedReportsAreSent(t *testing.T) {
	o := newEnv(t)
	o.Register(o.store.Tasks())
	o.build("one", main1)
	o.work()
	o.wantHistory("INPROGRESS waiting to be built")
}

// work runs the waiting tasks.
func (o *env) work() {
	t := o.t
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.store.Tasks().Run(ctx) }()
	for {
		waiting, _, err := o.store.Tasks().Depth(t.Context(), autobuild.TaskReport)
		must.Succeed(t, err)
		if waiting == 0 {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("reports: got no end before the test's deadline, want one")
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
