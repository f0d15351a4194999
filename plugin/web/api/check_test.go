package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

// Reports with a wrong format are rejected, because a repository's users can control runners.
func TestMalformedReportsAreRefused(t *testing.T) {
	events := func(events ...spec.Event) spec.EventsRequest { return spec.EventsRequest{Events: events} }
	huge := "sha256:" + strings.Repeat("a", 200<<10)
	for _, tt := range []struct {
		name, path string
		body       any
		status     int
		words      string
	}{
		{"a huge digest", "events", events(spec.Event{Seq: 1, Kind: spec.Built, Digest: huge}), 422, "events[0].digest"},
		{
			"markup as a digest", "events", events(spec.Event{Seq: 1, Kind: spec.Built, Digest: "<script>"}),
			422, "send sha256:",
		},
		{"an unknown kind", "events", events(spec.Event{Seq: 1, Kind: "exploded"}), 422, "events[0].kind"},
		{
			"an unknown stage", "events", events(spec.Event{Seq: 1, Kind: spec.StageStarted, Stage: "<b>"}),
			422, "events[0].stage",
		},
		{
			"a negative number", "events", events(spec.Event{Seq: -1, Kind: spec.StageStarted, Stage: "build"}),
			422, "events[0].seq",
		},
		{"many events", "events", events(stages(1, spec.MaxEvents+1)...), 422, "send at most 100"},
		{"48,000 stages", "events", events(stages(1, 48_000)...), 413, "larger than"},
		{
			"a permit for markup", "permit",
			spec.PermitRequest{Digest: digest, Tags: []string{"latest", "<b>"}}, 422, "tags[1]",
		},
		{"a permit for another tag", "permit", spec.PermitRequest{Digest: digest, Tags: []string{"stolen"}}, 422, "tags[0]"},
		{"a permit for a bad digest", "permit", spec.PermitRequest{Digest: huge, Tags: []string{"latest"}}, 422, "digest"},
		{"a permit for a bad extra tag", "permit", spec.PermitRequest{ExtraTags: []string{"a/b"}}, 422, "extra_tags[0]"},
		{"a permit for many tags", "permit", spec.PermitRequest{ExtraTags: make([]string, 201)}, 422, "send at most 200"},
		{"a result with a bad digest", "finish", spec.Result{State: spec.Succeeded, Digest: "sha256:abc"}, 422, "digest"},
		{"a negative size", "finish", spec.Result{State: spec.Succeeded, Size: -1}, 422, "size"},
		{"a vast size", "finish", spec.Result{State: spec.Succeeded, Size: 1 << 60}, 422, "size"},
		{
			"another tag", "finish",
			spec.Result{State: spec.Succeeded, Tags: []spec.TagResult{{Tag: "stolen"}}}, 422, "tags[0]",
		},
		{
			"an extra tag without a permit", "finish",
			spec.Result{State: spec.Succeeded, ExtraTags: []spec.TagResult{{Tag: "edge"}}}, 422,
			"extra_tags[0]",
		},
		{"a huge runner id", "claim", spec.ClaimRequest{RunnerID: strings.Repeat("r", 65)}, 400, "runner_id"},
		{
			"a huge version", "claim", spec.ClaimRequest{RunnerID: "r1", Version: strings.Repeat("1", 101)}, 422,
			"version",
		},
		{"a version with a line", "claim", spec.ClaimRequest{RunnerID: "r1", Version: "1\n2"}, 422, "version"},
		{"markup as a runner id", "claim", spec.ClaimRequest{RunnerID: "<b>"}, 400, "runner_id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			e.runner("claim", claim())
			got := answer[spec.ErrorReply](t, e.runner(tt.path, tt.body), tt.status)
			if !strings.Contains(got.Error, tt.words) {
				t.Errorf("error: got %q, want it to name %q", got.Error, tt.words)
			}
			if len(got.Error) > 300 {
				t.Errorf("bytes of message: got %d, want at most 300", len(got.Error))
			}
			wantUnchanged(t, e)
		})
	}
}

// wantUnchanged checks that no report has changed the first attempt.
func wantUnchanged(t *testing.T, e *env) {
	t.Helper()
	a, err := e.store.Attempt(t.Context(), e.build.ID, 1)
	e.must(err)
	if a.Digest != "" {
		t.Errorf("digest: got %q, want none", a.Digest)
	}
	if a.EventSeq != 0 {
		t.Errorf("event number: got %d, want 0", a.EventSeq)
	}
	if a.State != autobuild.Running {
		t.Errorf("state: got %q, want %q", a.State, autobuild.Running)
	}
}

// stages returns events that start a stage each.
func stages(from, n int) []spec.Event {
	events := make([]spec.Event, 0, n)
	for i := range n {
		events = append(events, spec.Event{Seq: int64(from + i), Kind: spec.StageStarted, Stage: spec.StageBuild})
	}
	return events
}

func TestAnAttemptHasAHundredStages(t *testing.T) {
	e := newEnv(t)
	e.runner("claim", claim())
	send := func(from, n int) int {
		return e.runner("events", spec.EventsRequest{Events: stages(from, n)}).Code
	}
	if got := send(1, 60); got != http.StatusOK {
		t.Errorf("60 stages: got %d, want 200", got)
	}
	if got := send(61, 41); got != http.StatusUnprocessableEntity {
		t.Errorf("101 stages: got %d, want 422", got)
	}
	if got := send(61, 40); got != http.StatusOK {
		t.Errorf("100 stages: got %d, want 200", got)
	}
	b, err := e.store.Build(t.Context(), e.build.ID)
	e.must(err)
	if len(b.Stages) != spec.MaxStages {
		t.Errorf("stages: got %d, want %d", len(b.Stages), spec.MaxStages)
	}
}

func TestWordsOfARunnerAreOneLine(t *testing.T) {
	e := newEnv(t)
	e.runner("claim", claim())
	detail := "9 of\n12\x1b[31m steps\u202e cached" + strings.Repeat("é", 500)
	e.runner("events", spec.EventsRequest{Events: []spec.Event{
		{
			Seq:   1,
			Kind:  spec.StageStarted,
			Stage: "build",
		},
		{Seq: 2, Kind: spec.StageFinished, Stage: "build", Detail: detail},
	}})
	e.runner("finish", spec.Result{State: spec.Failed, Reason: "build", Detail: detail})
	b, err := e.store.Build(t.Context(), e.build.ID)
	e.must(err)
	const want = "9 of 12[31m steps cachedé"
	if got := b.Stages[0].Detail; !strings.HasPrefix(got, want) {
		t.Errorf("detail: got %q, want the prefix %q", got, want)
	} else if len(got) > 200 {
		t.Errorf("length of the detail: got %v, want at most 200", len(got))
	}
	if got := b.Detail; !strings.HasPrefix(got, want) {
		t.Errorf("detail: got %q, want the prefix %q", got, want)
	} else if len(got) > 1000 {
		t.Errorf("length of the detail: got %v, want at most 1000", len(got))
	}
}

func TestExtraTags(t *testing.T) {
	e := newEnv(t)
	e.runner("claim", claim())
	ask := func(extra ...string) spec.PermitReply {
		t.Helper()
		reply := e.runner("permit", spec.PermitRequest{Digest: digest, ExtraTags: extra})
		return answer[spec.PermitReply](t, reply, http.StatusOK)
	}
	if got := ask("nightly", "edge"); !got.Granted {
		t.Errorf("extra tags: got a refusal %s, want none", got.Reason)
	}
	var many []string
	for i := range 99 {
		many = append(many, fmt.Sprint("x-", i))
	}
	reply := e.runner("permit", spec.PermitRequest{ExtraTags: many})
	got := answer[spec.ErrorReply](t, reply, http.StatusUnprocessableEntity)
	if !strings.Contains(got.Error, "extra_tags[98]") {
		t.Errorf("error: got %q, want it to name the tag past 100", got.Error)
	}
	result := spec.Result{
		State: spec.Succeeded, Digest: digest, Tags: []spec.TagResult{{Tag: "latest"}},
		ExtraTags: []spec.TagResult{{Tag: "nightly"}, {Tag: "edge", Error: "503\nService Unavailable"}},
	}
	if w := e.runner("finish", result); w.Code != http.StatusNoContent {
		t.Fatalf("finish: got Code %v, want %v", w.Code, http.StatusNoContent)
	}
	b, err := e.store.Build(t.Context(), e.build.ID)
	e.must(err)
	want := []autobuild.ExtraTag{{Tag: "nightly", Pushed: true}, {Tag: "edge", Problem: "503 Service Unavailable"}}
	if diff := cmp.Diff(want, b.ExtraTags); diff != "" {
		t.Errorf("extra tags (-want +got):\n%s", diff)
	}
}
