package pagestest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
)

// CookieOf signs a user in by id.
func (s *Sample) CookieOf(t testing.TB, userID string) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(w)
	c.Request = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/signin/token", nil)
	must(t, s.Sessions.Start(c, userID, autobuild.Grant{}))
	return w.Result().Cookies()[0]
}

func commit(n int, message string) autobuild.Commit {
	sum := sha256.Sum256(fmt.Appendf(nil, "commit %d", n))
	return autobuild.Commit{Hash: hex.EncodeToString(sum[:20]), Message: message, Author: "Jane Doe"}
}

func newBuild(
	a autobuild.AutomatedBuild,
	r autobuild.Rule,
	ref autobuild.Ref,
	hash, message string,
	cause autobuild.Cause,
	by, key string,
) autobuild.Build {
	c := commit(1, message)
	if hash != "" {
		c.Hash = hash
	}
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
		Cause:            cause,
		CausedBy:         by,
		CauseKey:         key,
	}
}

// work fills the store with builds, oldest first.
func (s *Sample) work(ctx context.Context) error {
	var f first
	rule := s.App.Rules[0]
	for i := range 9 {
		b := s.start(
			ctx,
			&f,
			newBuild(
				s.App,
				rule,
				autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
				commit(i, "").Hash,
				"Tidy the build",
				autobuild.CauseManual,
				"Alice Adams",
				fmt.Sprint("k", i),
			),
		)
		s.run(
			ctx,
			&f,
			b,
			time.Duration(31+7*((i*5)%6))*time.Second,
			[...]autobuild.State{autobuild.Succeeded, autobuild.Failed}[b2i(i == 4)],
		)
		s.Clock.Pass(17 * time.Minute)
	}
	s.Undone = s.start(
		ctx,
		&f,
		newBuild(
			s.App,
			rule,
			autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
			"",
			"",
			autobuild.CauseManual,
			"Bob Moss",
			"undone",
		),
	)
	keep[autobuild.Build](&f)(s.Store.CancelBuild(ctx, s.Undone.ID, autobuild.ReasonUser, "cancelled by Bob Moss"))
	s.Broken = s.start(
		ctx,
		&f,
		newBuild(
			s.Worker,
			s.Worker.Rules[0],
			autobuild.Ref{Kind: autobuild.Branch, Name: "feature/a-rather-long-branch-name-that-wraps"},
			commit(20, "").Hash,
			"Try the new scheduler <script>alert(1)</script>",
			autobuild.CauseReconcile,
			"",
			"b",
		),
	)
	s.Broken = s.run(ctx, &f, s.Broken, 123*time.Second, autobuild.Failed)
	s.Errored = s.start(
		ctx,
		&f,
		newBuild(
			s.Worker,
			s.Worker.Rules[0],
			autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
			commit(21, "").Hash,
			"Bump the base image",
			autobuild.CauseReconcile,
			"",
			"e",
		),
	)
	s.Errored = s.run(ctx, &f, s.Errored, 12*time.Second, autobuild.Errored)
	s.Clock.Pass(9 * time.Minute)
	s.push(ctx, &f)
	s.Clock.Pass(2 * time.Second)
	s.Live = s.start(
		ctx,
		&f,
		newBuild(
			s.Worker,
			s.Worker.Rules[0],
			autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
			commit(30, "").Hash,
			"Retry when the queue is full",
			autobuild.CauseManual,
			"Alice Adams",
			"l",
		),
	)
	s.claim(ctx, &f, s.Live)
	f.keep(s.Store.RecordEvents(ctx, s.Live.ID, 1, autobuild.EventRecord{Seq: 3, Stages: []autobuild.Stage{
		{Name: "fetch", StartedAt: s.Clock.Now(), FinishedAt: s.Clock.Now().Add(1100 * time.Millisecond)},
		{Name: "build", StartedAt: s.Clock.Now().Add(1100 * time.Millisecond)},
	}}))
	s.log(ctx, &f, s.Live, strings.Join(logLines[:18], "\n")+"\n#9 0.8 download 40%\r#9 0.9 dow")
	s.Clock.Pass(8 * time.Second)
	s.Waiting = s.start(
		ctx,
		&f,
		newBuild(
			s.App,
			rule,
			autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
			commit(31, "").Hash,
			"Say hello in the footer",
			autobuild.CauseManual,
			"Bob Moss",
			"w",
		),
	)
	s.Clock.Pass(4 * time.Second)
	return f.err
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (f *first) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (s *Sample) start(ctx context.Context, f *first, b autobuild.Build) autobuild.Build {
	made, _, err := s.Store.CreateBuild(ctx, b)
	f.keep(err)
	return made
}

func (s *Sample) claim(ctx context.Context, f *first, b autobuild.Build) {
	s.Clock.Pass(200 * time.Millisecond)
	engine, ref := "embedded", "pid-7"
	if b.AutomatedBuildID == s.Worker.ID {
		engine, ref = "drone", fmt.Sprintf("acme/builder#%d", b.Number)
	}
	keep[autobuild.Attempt](f)(s.Store.StartAttempt(ctx, b.ID, engine, "hash-"+b.ID, s.Clock.Now().Add(time.Hour), 0))
	f.keep(s.Store.SetEngineRef(ctx, b.ID, 1, ref))
	f.keep(s.Store.ClaimAttempt(ctx, b.ID, 1, "runner-1"))
}

// run takes a build through its stages to an end.
func (s *Sample) run(
	ctx context.Context,
	f *first,
	b autobuild.Build,
	took time.Duration,
	end autobuild.State,
) autobuild.Build {
	s.claim(ctx, f, b)
	t0 := s.Clock.Now()
	built := t0.Add(1100*time.Millisecond + took*8/10)
	stages := []autobuild.Stage{
		{Name: "fetch", StartedAt: t0, FinishedAt: t0.Add(1100 * time.Millisecond)},
		{Name: "build", StartedAt: t0.Add(1100 * time.Millisecond), FinishedAt: built, Detail: "9 of 12 steps cached"},
	}
	finish := autobuild.Finish{BuildID: b.ID, Attempt: 1, State: end}
	switch end {
	case autobuild.Succeeded:
		stages = append(stages, autobuild.Stage{Name: "push", StartedAt: built, FinishedAt: t0.Add(took)})
		finish.Digest, finish.Size = "sha256:9f2c4e1d"+strings.Repeat("7a", 28), 62_400_000
	case autobuild.Failed:
		finish.Reason, finish.Detail = autobuild.ReasonBuild, "RUN go build ./... ended with exit code 1"
	default:
		finish.Reason, finish.Detail = autobuild.ReasonInfrastructure, "registry.example.com does not answer: connection refused"
	}
	f.keep(s.Store.RecordEvents(ctx, b.ID, 1, autobuild.EventRecord{Seq: 9, Stages: stages, Digest: finish.Digest}))
	s.log(ctx, f, b, strings.Join(logLines, "\n")+"\n")
	s.Clock.Pass(took)
	done := keep[autobuild.Build](f)(s.Store.FinishAttempt(ctx, finish))
	s.Clock.Pass(300 * time.Millisecond)
	f.keep(s.Store.MarkReported(ctx, b.ID, 1, end, ""))
	return done
}

func (s *Sample) log(ctx context.Context, f *first, b autobuild.Build, text string) {
	_, err := s.Logs.Append(ctx, b.ID, 1, 0, []byte(text))
	f.keep(err)
}

// push is a delivery of three changes that made one build.
func (s *Sample) push(ctx context.Context, f *first) {
	header := http.Header{
		"X-Event-Key":      {"repo:push"},
		"X-Hub-Signature":  {"sha256=0123456789abcdef"},
		"User-Agent":       {"Bitbucket-Webhooks/2.0"},
		"X-Attempt-Number": {"1"},
	}
	body := []byte(
		`{"push":{"changes":[{"new":{"type":"tag","name":"v1.2"}},{"old":{"type":"branch","name":"<b>old</b>"}}]},"repository":{"full_name":"acme/app"}}`,
	)
	s.Delivery = keep[string](
		f,
	)(
		s.Store.ReceiveDelivery(
			ctx,
			autobuild.Delivery{
				HookID:     s.Hook.ID,
				Event:      "repo:push",
				RequestID:  "r-1",
				Header:     header,
				Body:       body,
				ReceivedAt: s.Clock.Now(),
			},
		),
	)
	head := commit(40, "fix: answer health checks before the cache is warm")
	ref := autobuild.Ref{Kind: autobuild.Tag, Name: "v1.2"}
	b := newBuild(s.App, s.App.Rules[1], ref, head.Hash, head.Message, autobuild.CausePush, "Jane Doe", "")
	b.Tags = []string{"1.2", "1", "latest"}
	builds := keep[[]autobuild.Build](f)(s.Store.Plan(ctx, autobuild.Plan{
		DeliveryID: s.Delivery, State: autobuild.DeliveryPlanned, Repository: s.App.Repository,
		Moves: []autobuild.Move{
			{
				Transition: autobuild.Transition{Repository: s.App.Repository, Ref: ref, New: head.Hash},
				Outcome: autobuild.Outcome{
					Change: autobuild.Change{
						Kind:    autobuild.Tag,
						Name:    "v1.2",
						Action:  autobuild.Created,
						Commit:  head.Hash,
						Message: head.Message,
					},
					Rules: []autobuild.RuleAnswer{
						{
							AutomatedBuildID: s.App.ID,
							Decision:         autobuild.Decision{Rule: "default", Reason: "source type is branch"},
						},
						{
							AutomatedBuildID: s.App.ID,
							Decision: autobuild.Decision{
								Rule:    "releases",
								Build:   true,
								Publish: true,
								Tags:    b.Tags,
								Reason:  `tag v1.2 matches /^v([0-9]+)\.([0-9]+)$/`,
							},
						},
					},
				},
				Builds: []autobuild.Build{b},
			},
		},
		Refused: []autobuild.Outcome{
			{
				Change: autobuild.Change{
					Kind:   autobuild.Branch,
					Name:   "main",
					Action: autobuild.Updated,
					Old:    commit(8, "").Hash,
					Commit: head.Hash,
				},
				Refused: "it moved on before it was looked at; the newer head is built",
			},
			{
				Change: autobuild.Change{
					Kind:   autobuild.Branch,
					Name:   "<b>old</b>",
					Action: autobuild.Deleted,
					Old:    commit(7, "").Hash,
				},
			},
		},
	}))
	if f.err == nil {
		s.Done = s.run(ctx, f, builds[0], 45*time.Second, autobuild.Succeeded)
	}
}

// logLines is a log with what a builder writes and what nobody should see.
var logLines = []string{
	"fetching acme/app at 8c1f2e9",
	"\x1b[36mfetched\x1b[0m 41 objects, 1.2 MB",
	"#1 [internal] load build definition from Dockerfile",
	"#1 transferring dockerfile: 412B done",
	"#1 DONE 0.0s",
	"",
	"#2 [build 1/5] FROM registry.example.com/base/go:1.26@sha256:77aa",
	"#2 resolve registry.example.com/base/go:1.26",
	"#2 sha256:77aa 10.2MB / 62.0MB",
	"#2 sha256:77aa 62.0MB / 62.0MB",
	"#2 CACHED",
	"",
	"#7 [build 3/5] RUN go build ./...",
	"#7 0.412 go: downloading github.com/gin-gonic/gin v1.12.0",
	"#7 0.901 go: downloading golang.org/x/net v0.59.0",
	"#7 11.20 \x1b[33mwarning\x1b[0m: \x1b]8;;javascript:alert(1)\x07internal/legacy\x1b]8;;\x07 is deprecated",
	"#7 38.11 ok  	app/internal/cache	0.212s <img src=x onerror=alert(1)>",
	"#7 DONE 38.2s",
	"",
	"#9 exporting to image",
	"#9 exporting layers 10%\r#9 exporting layers 80%\r#9 exporting layers done",
	"#9 pushing manifest for registry.example.com/acme/app:1.2",
	"#9 \x1b[32;1mDONE\x1b[0m 3.1s",
	"pushed 3 tags in 3.2s",
}
