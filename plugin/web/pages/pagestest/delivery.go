package pagestest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

// addDelivery adds a delivery with three changes, one of which created a build.
func (s *Sample) addDelivery(t testing.TB) {
	t.Helper()
	body := `{"push":{"changes":[{"new":{"type":"tag","name":"v1.2"}},` +
		`{"old":{"type":"branch","name":"<b>old</b>"}}]},"repository":{"full_name":"acme/app"}}`
	var err error
	s.Delivery, err = s.Store.ReceiveDelivery(t.Context(), autobuild.Delivery{
		HookID:    s.Hook.ID,
		Event:     "repo:push",
		RequestID: "r-1",
		Header: http.Header{
			"X-Event-Key":      {"repo:push"},
			"X-Hub-Signature":  {"sha256=0123456789abcdef"},
			"User-Agent":       {"Bitbucket-Webhooks/2.0" + s.mark},
			"X-Attempt-Number": {"1"},
		},
		Body:       []byte(strings.ReplaceAll(body, "old", "old"+s.mark)),
		ReceivedAt: s.Clock.Now(),
	})
	must.Succeed(t, err)
	head := commit(1, "fix: answer health checks before the cache is warm")
	head.Hash = commit(40, "").Hash
	head.Message += s.mark
	head.Author += s.mark
	builds, err := s.Store.Plan(t.Context(), autobuild.Plan{
		DeliveryID: s.Delivery,
		State:      autobuild.DeliveryPlanned,
		Repository: s.App.Repository,
		Moves:      []autobuild.Move{s.taggedMove(head)},
		Refused:    refusedChanges(head, s.mark),
	})
	must.Succeed(t, err)
	s.Done = s.run(t, builds[0], 45*time.Second, autobuild.Succeeded)
}

// taggedMove returns the new tag v1.2, which rule releases builds.
func (s *Sample) taggedMove(head autobuild.Commit) autobuild.Move {
	ref := autobuild.Ref{Kind: autobuild.Tag, Name: "v1.2"}
	b := newBuild(s.App, s.App.Rules[1], ref, head)
	b.Cause, b.CausedBy = autobuild.CausePush, "Jane Doe"+s.mark
	b.Tags = []string{"1.2", "1", "latest"}
	built := autobuild.Decision{
		Rule:    "releases",
		Build:   true,
		Publish: true,
		Tags:    b.Tags,
		Reason:  `tag v1.2 matches /^v([0-9]+)\.([0-9]+)$/` + s.mark,
	}
	skipped := autobuild.Decision{Rule: "default", Reason: "source type is branch" + s.mark}
	return autobuild.Move{
		Transition: autobuild.Transition{Repository: s.App.Repository, Ref: ref, New: head.Hash},
		Outcome: autobuild.Outcome{
			Change: autobuild.Change{
				Kind:    autobuild.Tag,
				Name:    "v1.2",
				Action:  autobuild.Created,
				Commit:  head.Hash,
				Message: head.Message,
			},
			Rules: []autobuild.RuleDecision{
				{AutomatedBuildID: s.App.ID, Decision: skipped},
				{AutomatedBuildID: s.App.ID, Decision: built},
			},
		},
		Builds: []autobuild.Build{b},
	}
}

// refusedChanges returns an outdated change of main, and a deleted branch with markup in its name.
func refusedChanges(head autobuild.Commit, mark string) []autobuild.Outcome {
	return []autobuild.Outcome{
		{
			Change: autobuild.Change{
				Kind:   autobuild.Branch,
				Name:   "main",
				Action: autobuild.Updated,
				Old:    commit(8, "").Hash,
				Commit: head.Hash,
			},
			Refused: "it moved on before it was looked at; the newer head is built" + mark,
		},
		{
			Change: autobuild.Change{
				Kind:   autobuild.Branch,
				Name:   "<b>old</b>" + mark,
				Action: autobuild.Deleted,
				Old:    commit(7, "").Hash,
			},
		},
	}
}
