package woodpecker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

// own is a repository's own workflow, which runs on every event.
const own = "steps: [{name: own, image: sh, commands: [echo own]}]"

func TestAPipelineCarriesThreeVariablesAndNoSecret(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	if a := b.start(); a.EngineRef != "acme/builder#1" {
		t.Errorf("started as %q", a.EngineRef)
	}
	got := b.of(b.builder)[0]
	names := slices.Sorted(maps.Keys(got.Variables))
	if want := []string{"SLIPWAY_ATTEMPT", "SLIPWAY_BUILD", "SLIPWAY_NONCE"}; !slices.Equal(names, want) || got.Branch != "main" {
		t.Errorf("variables %v on %s, want %v on main", names, got.Branch, want)
	}
	if again := b.start(); again.EngineRef != "acme/builder#1" || len(b.of(b.builder)) != 1 {
		t.Errorf("started again as %q of %d", again.EngineRef, len(b.of(b.builder)))
	}
}

// A repository runs on the build's branch; where the API takes none that would do, on the
// default branch, for the runner fetches the commit itself.
func TestTheBranchOfAPipeline(t *testing.T) {
	for ref, want := range map[autobuild.Ref]string{
		{Kind: autobuild.Branch, Name: "topic"}: "topic",
		{Kind: autobuild.Branch, Name: "gone"}:  "main",
		{Kind: autobuild.Tag, Name: "topic"}:    "main",
	} {
		b := newBench(t, "", "")
		name, err := b.Start(t.Context(), b.pipeline(ref))
		if err != nil || name != "acme/app#1" {
			t.Fatalf("%s started as %q, %v", ref.Full(), name, err)
		}
		if got := b.of(b.app); len(got) != 1 || got[0].Branch != want {
			t.Errorf("%s: %+v, want one on %s", ref.Full(), got, want)
		}
	}
}

// Bitbucket may fail just when the pipeline is there: a branch that seems gone is not reason
// enough for a second one.
func TestA500IsNoReasonForASecondPipeline(t *testing.T) {
	b := newBench(t, "", "")
	b.server.Activate(b.app)
	first := true
	b.line.answer(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/pipelines") && r.Method == http.MethodPost && first {
			first = false
			b.server.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		b.server.ServeHTTP(w, r)
	})
	name, err := b.Start(t.Context(), b.pipeline(autobuild.Ref{Kind: autobuild.Branch, Name: "topic"}))
	if err != nil || name != "acme/app#1" || len(b.of(b.app)) != 1 {
		t.Errorf("started as %q of %d, %v", name, len(b.of(b.app)), err)
	}
}

// A server whose database fails it in the middle of a start leaves a pipeline behind that stays
// created for ever: it is not the attempt's, which would wait for it in vain.
func TestAPipelineThatWasBegunAndNeverMadeIsNotTheAttempts(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	b.server.BreakNext()
	if a := b.start(); a.EngineRef != "acme/builder#2" {
		t.Errorf("started as %q, want the second one, which runs", a.EngineRef)
	}
}

func TestAnAnswerThatIsLostCostsNothing(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	b.server.LoseAnswer()
	if a := b.start(); a.EngineRef != "acme/builder#1" || len(b.of(b.builder)) != 1 {
		t.Errorf("started as %q of %d", a.EngineRef, len(b.of(b.builder)))
	}
}

// What keeps a pipeline from being started, and who is to mend what. What is wrong with the
// builder repository is wrong for all: builds wait (ErrForbidden). What is wrong with one
// repository costs its builds their attempts (ErrNotFound).
func TestWhatKeepsAPipelineFromBeingStarted(t *testing.T) {
	for name, c := range map[string]struct {
		builder string // repository
		change  func(*bench)
		want    error
		says    string
	}{
		"token revoked":               {"acme/builder", func(b *bench) { b.server.RevokeTokens() }, autobuild.ErrUnauthorized, "set SLIPWAY_WOODPECKER_TOKEN"},
		"builder may not be pushed":   {"acme/builder", func(b *bench) { b.server.Permit(b.builder, false, false) }, autobuild.ErrForbidden, "give it write access"},
		"may not be pushed":           {"", func(b *bench) { b.server.Activate(b.app); b.server.Permit(b.app, false, false) }, autobuild.ErrNotFound, "give it write access"},
		"may not be activated":        {"", func(b *bench) { b.server.Permit(b.app, true, false) }, autobuild.ErrNotFound, "must be an administrator of the repository"},
		"is not seen":                 {"", func(b *bench) { b.server.Permit(b.app, false, false) }, autobuild.ErrNotFound, "or activate it by hand"},
		"renamed":                     {"", func(b *bench) { b.server.Rename(b.app, "acme/app2") }, autobuild.ErrNotFound, "calls acme/app by the name acme/app2"},
		"builder in another case":     {"Acme/Builder", func(*bench) {}, autobuild.ErrForbidden, "calls Acme/Builder by the name acme/builder"},
		"builder unknown":             {"acme/none", func(*bench) {}, autobuild.ErrForbidden, "the builder repository"},
		"no config extension":         {"acme/builder", func(b *bench) { b.server.SetExtensions("", "") }, autobuild.ErrForbidden, "set WOODPECKER_CONFIG_EXTENSION_ENDPOINT"},
		"no secret extension":         {"acme/builder", withoutSecrets, autobuild.ErrForbidden, `secret "slipway_runner_token" not found`},
		"its own workflow":            {"", func(b *bench) { b.server.SetExtensions("", ""); b.server.SetConfig(b.app, own) }, autobuild.ErrForbidden, "ran the repository's own workflow"},
		"config extension fails":      {"acme/builder", func(b *bench) { b.handing.lookUp = 1000 }, autobuild.ErrUnavailable, "failed to fetch config via http (status: 503)"},
		"server fails":                {"acme/builder", func(b *bench) { b.server.FailNext(1000) }, autobuild.ErrUnavailable, "answered 500"},
		"redirected":                  {"acme/builder", func(b *bench) { b.line.answer(redirect) }, autobuild.ErrForbidden, "set SLIPWAY_WOODPECKER_SERVER"},
		"asked too much":              {"acme/builder", func(b *bench) { b.line.answer(status(http.StatusTooManyRequests, "")) }, autobuild.ErrUnavailable, "asked too much"},
		"403":                         {"acme/builder", func(b *bench) { b.line.answer(status(http.StatusForbidden, "")) }, autobuild.ErrForbidden, "give it push access"},
		"proxy without server":        {"acme/builder", func(b *bench) { b.line.answer(status(http.StatusBadGateway, "<h1>Bad\xff gateway")) }, autobuild.ErrUnavailable, "answered 502 <h1>Bad? gateway"},
		"connection dropped":          {"acme/builder", func(b *bench) { b.line.answer(drop) }, autobuild.ErrUnavailable, "does not answer"},
		"it is another sort of thing": {"acme/builder", func(b *bench) { b.line.answer(status(http.StatusOK, "<html>")) }, nil, "understand Woodpecker's answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.builder, "")
			c.change(b)
			number, err := b.CI().Create(t.Context(), b.order(storetest.Main()))
			wants(t, err, c.want, c.says)
			if number != 0 {
				t.Errorf("it started %d", number)
			}
			if err != nil && strings.Contains(err.Error(), b.token.Reveal()) {
				t.Error("the error shows the token")
			}
			for _, p := range append(b.of(b.builder), b.of(b.app)...) {
				if p.Status != "error" && p.Status != "canceled" {
					t.Errorf("pipeline %d was left %s", p.Number, p.Status)
				}
			}
		})
	}
}

func withoutSecrets(b *bench) {
	b.server.SetExtensions(b.extensions+"config", "")
}

func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
}

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// A pipeline that Woodpecker could not make has a number and our variables. It is not found,
// and once the fault is mended the attempt gets one that runs.
func TestAPipelineThatWasNotMadeIsNotTheAttempts(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	b.handing.lookUp = 3 // as often as Woodpecker asks
	_, err := b.CI().Create(t.Context(), b.order(storetest.Main()))
	wants(t, err, autobuild.ErrUnavailable, "could not load the pipeline's configuration")
	a := autobuild.Attempt{BuildID: b.build.ID, Number: 1, EngineRef: "acme/builder"}
	if state, err := b.State(t.Context(), a); err != nil || state != autobuild.PipelineGone {
		t.Errorf("it is %s, %v", state, err)
	}
	if a := b.start(); a.EngineRef != "acme/builder#2" {
		t.Errorf("started as %q", a.EngineRef)
	}
}

func TestTheServersStatesInOurWords(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	for said, want := range map[string]autobuild.PipelineState{
		"created": "queued", "pending": "queued", "blocked": "queued", "running": "running",
		"killed": "cancelled", "canceled": "cancelled", "declined": "cancelled",
		"success": "gone", "failure": "gone", "error": "gone", "skipped": "gone", "new in version 9": "gone",
	} {
		b.line.answer(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/pipelines/7") {
				fmt.Fprintf(w, `{"number":7,"status":%q}`, said)
				return
			}
			b.server.ServeHTTP(w, r)
		})
		run, err := b.CI().Run(t.Context(), "acme/builder", 7)
		if err != nil || run.State != want || run.Number != 7 || !strings.HasSuffix(run.URL, "/repos/1/pipeline/7") {
			t.Errorf("%s: %+v, %v; want %s", said, run, err, want)
		}
	}
}

func TestAPipelineIsCancelledWhereverItStands(t *testing.T) {
	b := newBench(t, "acme/builder", "exec sleep 100")
	a := b.start()
	expect := func(want autobuild.PipelineState) {
		t.Helper()
		if state, err := b.State(t.Context(), a); err != nil || state != want {
			t.Fatalf("it is %s, %v; want %s", state, err, want)
		}
	}
	expect(autobuild.PipelineQueued)
	must(t, b.Cancel(t.Context(), a))
	expect(autobuild.PipelineCancelled)
	must(t, b.Cancel(t.Context(), a)) // over
	must(t, b.Cancel(t.Context(), autobuild.Attempt{BuildID: b.build.ID, Number: 1, EngineRef: "acme/builder#99"}))
	b.server.Release()
	second := newBench(t, "acme/builder", "exec sleep 100")
	second.server.Release()
	b, a = second, second.start()
	expect(autobuild.PipelineRunning)
	must(t, b.Cancel(t.Context(), a))
	expect(autobuild.PipelineCancelled)
}

// Others see our variables, and may start pipelines with them.
func TestOnlyWhatOurUserStartedIsFound(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	a := b.start()
	a.EngineRef = "acme/builder"
	if state, err := b.State(t.Context(), a); err != nil || state != autobuild.PipelineQueued {
		t.Errorf("it is %s, %v", state, err)
	}
	b.line.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/user" {
			fmt.Fprint(w, `{"login":"somebody else"}`)
			return
		}
		b.server.ServeHTTP(w, r)
	})
	if state, err := b.State(t.Context(), a); err != nil || state != autobuild.PipelineGone {
		t.Errorf("for somebody else it is %s, %v", state, err)
	}
}

// A pipeline is looked for on two pages, newest first.
func TestAPipelineIsFoundBehindOthers(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	a := b.start()
	a.EngineRef = "acme/builder"
	b.server.SetExtensions("", "")
	b.server.SetConfig(b.builder, own)
	others := func() {
		for range 60 {
			_, err := b.server.Manual(b.builder, "main", "slipway", nil)
			must(t, err)
		}
	}
	for _, want := range []autobuild.PipelineState{autobuild.PipelineQueued, autobuild.PipelineGone} {
		others()
		if state, err := b.State(t.Context(), a); err != nil || state != want {
			t.Errorf("behind %d it is %s, %v; want %s", len(b.of(b.builder))-1, state, err, want)
		}
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	ctx, cancel := context.WithCancel(t.Context())
	b.line.answer(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := b.CI().Run(ctx, "acme/builder", 1)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wants(t, err, autobuild.ErrUnavailable, "does not answer")
}

func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	b.line.answer(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 64 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := b.CI().Run(t.Context(), "acme/builder", 1); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
}

// Two builds may find a repository inactive at once, and one of them comes second.
func TestAnotherMayHaveActivatedTheRepository(t *testing.T) {
	for _, meanwhile := range []string{"GET /api/user/repos", "POST /api/repos"} {
		b := newBench(t, "", "")
		b.line.answer(func(w http.ResponseWriter, r *http.Request) {
			if r.Method+" "+r.URL.Path == meanwhile {
				b.server.Activate(b.app)
			}
			b.server.ServeHTTP(w, r)
		})
		if a := b.start(); a.EngineRef != "acme/app#1" {
			t.Errorf("activated before %s: started as %q", meanwhile, a.EngineRef)
		}
	}
}

// Only a 500 can mean that the branch is gone: after anything else the pipeline is looked for.
func TestAServerThatIsAwayIsNotAskedForTheDefaultBranch(t *testing.T) {
	b := newBench(t, "", "")
	b.server.Activate(b.app)
	starts := 0
	b.line.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			starts++
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b.server.ServeHTTP(w, r)
	})
	_, err := b.CI().Create(t.Context(), b.order(autobuild.Ref{Kind: autobuild.Branch, Name: "topic"}))
	wants(t, err, autobuild.ErrUnavailable, "answered 503")
	if starts != 1 {
		t.Errorf("it was asked %d times", starts)
	}
}

// The page of a pipeline is at the server, by the repository's number there.
func TestPipelineURL(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	a := b.start()
	byParameters := a
	byParameters.EngineRef = "acme/builder"
	for _, one := range []autobuild.Attempt{a, byParameters} {
		got, err := b.PipelineURL(t.Context(), one)
		if server, page, ok := strings.Cut(got, "/repos/"); err != nil || !ok || server != b.api || page != "1/pipeline/1" {
			t.Errorf("%s is at %q, %v", one.EngineRef, got, err)
		}
	}
	a.EngineRef = "acme/builder#99"
	_, err := b.PipelineURL(t.Context(), a)
	wants(t, err, autobuild.ErrNotFound, "")
}
