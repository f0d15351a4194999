package pagestest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

func commit(n int, message string) autobuild.Commit {
	sum := sha256.Sum256(fmt.Appendf(nil, "commit %d", n))
	return autobuild.Commit{Hash: hex.EncodeToString(sum[:20]), Message: message, Author: "Jane Doe"}
}

func newBuild(a autobuild.AutomatedBuild, r autobuild.Rule, ref autobuild.Ref, c autobuild.Commit) autobuild.Build {
	return autobuild.Build{
		AutomatedBuildID: a.ID,
		RuleID:           r.ID,
		Repository:       a.Repository,
		Ref:              ref,
		Commit:           c,
		Image:            a.Image,
		Tags:             []string{"latest"},
		Dockerfile:       "Dockerfile",
		Context:          ".",
		Caching:          true,
		Publish:          true,
	}
}

// mainBuild returns a build of branch main by the default rule, which a user started.
func mainBuild(a autobuild.AutomatedBuild, c autobuild.Commit, by, key string) autobuild.Build {
	b := newBuild(a, a.Rules[0], autobuild.Ref{Kind: autobuild.Branch, Name: "main"}, c)
	b.Cause, b.CausedBy, b.CauseKey = autobuild.CauseManual, by, key
	return b
}

// addHistory fills the store with builds, oldest first.
func (s *Sample) addHistory(t testing.TB) {
	t.Helper()
	for i := range 9 {
		state := autobuild.Succeeded
		if i == 4 {
			state = autobuild.Failed
		}
		b := s.create(t, mainBuild(s.App, commit(i, "Tidy the build"), "Alice Adams", fmt.Sprint("k", i)))
		s.run(t, b, time.Duration(31+7*((i*5)%6))*time.Second, state)
		s.Clock.Pass(17 * time.Minute)
	}
	s.Undone = s.create(t, mainBuild(s.App, commit(1, ""), "Bob Moss", "undone"))
	_, err := s.Store.CancelBuild(t.Context(), s.Undone.ID, autobuild.ReasonUser, "cancelled by Bob Moss"+s.mark)
	must.Succeed(t, err)
	s.addFailures(t)
	s.Clock.Pass(9 * time.Minute)
	s.addDelivery(t)
	s.Clock.Pass(2 * time.Second)
	s.addActive(t)
}

// addFailures adds a build that failed and one that ended with an error, both found by polling.
func (s *Sample) addFailures(t testing.TB) {
	t.Helper()
	broken := mainBuild(s.Worker, commit(20, "Try the new scheduler <script>alert(1)</script>"), "", "b")
	broken.Ref.Name = "feature/a-rather-long-branch-name-that-wraps"
	broken.Cause = autobuild.CauseReconcile
	s.Broken = s.run(t, s.create(t, broken), 123*time.Second, autobuild.Failed)
	errored := mainBuild(s.Worker, commit(21, "Bump the base image"), "", "e")
	errored.Cause = autobuild.CauseReconcile
	s.Errored = s.run(t, s.create(t, errored), 12*time.Second, autobuild.Errored)
}

// addActive adds a running build with half a log, and a queued build.
func (s *Sample) addActive(t testing.TB) {
	t.Helper()
	s.Live = s.create(t, mainBuild(s.Worker, commit(30, "Retry when the queue is full"), "Alice Adams", "l"))
	s.claim(t, s.Live)
	fetched := s.Clock.Now().Add(1100 * time.Millisecond)
	must.Succeed(
		t,
		s.Store.RecordEvents(t.Context(), s.Live.ID, 1, autobuild.EventRecord{Seq: 3, Stages: []autobuild.Stage{
			{Name: "fetch", StartedAt: s.Clock.Now(), FinishedAt: fetched},
			{Name: "build", StartedAt: fetched},
		}}),
	)
	s.log(t, s.Live, strings.Join(logLines[:18], "\n")+"\n#9 0.8 download 40%\r#9 0.9 dow")
	s.Clock.Pass(8 * time.Second)
	s.Waiting = s.create(t, mainBuild(s.App, commit(31, "Say hello in the footer"), "Bob Moss", "w"))
	s.Clock.Pass(4 * time.Second)
}

func (s *Sample) create(t testing.TB, b autobuild.Build) autobuild.Build {
	t.Helper()
	b.Ref.Name += s.mark
	b.Commit.Message += s.mark
	b.Commit.Author += s.mark
	b.CausedBy += s.mark
	created, _, err := s.Store.CreateBuild(t.Context(), b)
	must.Succeed(t, err)
	return created
}

// claim starts an attempt of a build and lets a runner claim it.
func (s *Sample) claim(t testing.TB, b autobuild.Build) {
	t.Helper()
	s.Clock.Pass(200 * time.Millisecond)
	engine, ref := "embedded", "pid-7"
	if b.AutomatedBuildID == s.Worker.ID {
		engine, ref = "drone", fmt.Sprintf("acme/builder#%d", b.Number)
	}
	deadline := s.Clock.Now().Add(time.Hour)
	_, err := s.Store.StartAttempt(t.Context(), b.ID, engine, "hash-"+b.ID, deadline, autobuild.Limits{})
	must.Succeed(t, err)
	must.Succeed(t, s.Store.SetEngineRef(t.Context(), b.ID, 1, ref))
	must.Succeed(t, s.Store.ClaimAttempt(t.Context(), b.ID, 1, "runner-1"))
}

// run takes a build through its stages to its final state.
func (s *Sample) run(t testing.TB, b autobuild.Build, took time.Duration, end autobuild.State) autobuild.Build {
	t.Helper()
	s.claim(t, b)
	start := s.Clock.Now()
	fetched := start.Add(1100 * time.Millisecond)
	built := fetched.Add(took * 8 / 10)
	stages := []autobuild.Stage{
		{Name: "fetch", StartedAt: start, FinishedAt: fetched},
		{Name: "build", StartedAt: fetched, FinishedAt: built, Detail: "9 of 12 steps cached" + s.mark},
	}
	finish := autobuild.Finish{BuildID: b.ID, Attempt: 1, State: end}
	switch end {
	case autobuild.Succeeded:
		stages = append(stages, autobuild.Stage{Name: "push", StartedAt: built, FinishedAt: start.Add(took)})
		finish.Digest, finish.Size = "sha256:9f2c4e1d"+strings.Repeat("7a", 28), 62_400_000
	case autobuild.Failed:
		finish.Reason, finish.Detail = autobuild.ReasonBuild, "RUN go build ./... ended with exit code 1"+s.mark
	default:
		finish.Reason = autobuild.ReasonInfrastructure
		finish.Detail = "registry.example.com does not respond: connection refused" + s.mark
	}
	record := autobuild.EventRecord{Seq: 9, Stages: stages, Digest: finish.Digest}
	must.Succeed(t, s.Store.RecordEvents(t.Context(), b.ID, 1, record))
	s.log(t, b, strings.Join(logLines, "\n")+"\n")
	s.Clock.Pass(took)
	done, err := s.Store.FinishAttempt(t.Context(), finish)
	must.Succeed(t, err)
	s.Clock.Pass(300 * time.Millisecond)
	must.Succeed(t, s.Store.MarkReported(t.Context(), b.ID, 1, end, ""))
	return done
}

func (s *Sample) log(t testing.TB, b autobuild.Build, text string) {
	t.Helper()
	_, err := s.Logs.Append(t.Context(), b.ID, 1, 0, []byte(text))
	must.Succeed(t, err)
}
