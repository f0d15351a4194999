package drone_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/store/storetest"
)

func TestStartWithoutAServer(t *testing.T) {
	e := newEnv(t, drone.Options{Server: "http://127.0.0.1:1", Repository: "acme/builder"})
	_, err := e.Start(t.Context(), e.pipeline(t))
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Fatalf("start: got %v, want ErrUnavailable", err)
	}
	if !strings.Contains(err.Error(), "http://127.0.0.1:1: ") {
		t.Errorf(`error: got %v, want "http://127.0.0.1:1: " in it`, err)
	}
	if strings.Contains(err.Error(), "/api/") {
		t.Errorf("error: got %v, want it without the path of the request", err)
	}
}

// Drone answers late and with 500 if it finds no configuration.
func TestStartReportsAMissingConfigExtension(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	r := e.server.AddRepository("acme/builder", "main")
	e.server.SetExtensions(dronetest.Extensions{})
	if _, err := e.Start(shortly(t), e.pipeline(t)); !errors.Is(err, autobuild.ErrUnavailable) ||
		!strings.Contains(err.Error(), "are DRONE_YAML_ENDPOINT") {
		t.Errorf(`without a configuration: got %v, want ErrUnavailable with "are DRONE_YAML_ENDPOINT"`, err)
	}
	e.server.SetConfig(
		r,
		"kind: pipeline\ntype: exec\nname: own\ntrigger: {event: [push]}\nsteps: [{name: a, commands: [true]}]",
	)
	if _, err := e.Start(shortly(t), e.pipelineOf(t, "two")); !errors.Is(err, autobuild.ErrForbidden) ||
		!strings.Contains(err.Error(), "created no build") {
		t.Errorf(`with its own configuration for pushes: got %v, want ErrForbidden with "created no build"`,
			err)
	}
	e.server.SetConfig(r, "kind: pipeline\ntype: exec\nname: own\nsteps: [{name: '', commands: [true]}]")
	if _, err := e.Start(shortly(t), e.pipelineOf(t, "three")); !errors.Is(err, autobuild.ErrForbidden) ||
		!strings.Contains(err.Error(), "linter") {
		t.Errorf(`with a configuration that Drone does not run: got %v, want ErrForbidden with "linter"`, err)
	}
}

// A start sends our three parameters and an action, and neither token nor secret.
func TestAStartSendsOnlyParameters(t *testing.T) {
	tag := autobuild.Ref{Kind: autobuild.Tag, Name: "v1.0"}
	for name, c := range map[string]struct {
		repository     string
		ref            autobuild.Ref
		path           string
		branch, commit string
	}{
		"builder repository": {"acme/builder", tag, "/api/repos/acme/builder/builds", "main", ""},
		"branch":             {"", storetest.Main(), "/api/repos/acme/app/builds", "main", storetest.Commit(1)},
		"tag":                {"", tag, "/api/repos/acme/app/builds", "refs/tags/v1.0", storetest.Commit(1)},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, drone.Options{Repository: c.repository})
			e.server.AddUnseen("acme/builder")
			e.server.AddUnseen("acme/app")
			p := e.pipeline(t)
			p.Ref = c.ref
			ref, err := e.Start(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := e.Start(t.Context(), p); again != ref || err != nil {
				t.Errorf("second start: got %+v, error %v, want %s", again, err, ref)
			}
			posts := e.requests("POST")
			if len(posts) != 3 || posts[0] != "POST /api/user/repos" {
				t.Fatalf("requests: got %q, want a sync, an activation and a start", posts)
			}
			u, err := url.Parse(strings.TrimPrefix(posts[2], "POST "))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			want := url.Values{
				"SLIPWAY_BUILD":   {p.BuildID},
				"SLIPWAY_ATTEMPT": {"1"},
				"SLIPWAY_NONCE":   q["SLIPWAY_NONCE"],
				"action":          {"slipway-" + p.BuildID + "-1"},
				"branch":          {c.branch},
			}
			q.Del("commit")
			if u.Path != c.path {
				t.Errorf("path: got %s, want %s", u.Path, c.path)
			}
			if q.Encode() != want.Encode() {
				t.Errorf("query: got %s, want %s", q.Encode(), want.Encode())
			}
			if got := u.Query().Get("commit"); got != c.commit {
				t.Errorf("commit: got %q, want %q", got, c.commit)
			}
			for _, line := range e.requests("") {
				if strings.Contains(line, e.token) {
					t.Errorf("request %s: got the token in it, want none", line)
				}
			}
		})
	}
}

// Drone caches configurations by a key that two builds of one commit and second share.
func TestManyStartsAtOnceEachRunTheirOwn(t *testing.T) {
	const n = 12
	e := newEnv(t, drone.Options{Repository: "acme/builder", Step: pipeline.Step{
		Image: script(
			t, `echo "runs $SLIPWAY_RUNNER_URL, token of ${#SLIPWAY_RUNNER_TOKEN}"`,
		), URL: func(id string) string { return "http://gw/$HOME/" + id },
	}})
	r := e.server.AddRepository("acme/builder", "main")
	var all sync.WaitGroup
	started := make([]string, n)
	for i := range n {
		p := e.pipelineOf(t, fmt.Sprint("app-", i))
		all.Go(func() {
			ref, err := e.Start(t.Context(), p)
			if err != nil {
				t.Error(err)
			}
			started[i] = ref + " " + p.BuildID
		})
	}
	all.Wait()
	for _, line := range started {
		ref, id, _ := strings.Cut(line, " ")
		var number int64
		if _, err := fmt.Sscanf(ref, "acme/builder#%d", &number); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		e.waitFinished(t, r, number)
		if log := e.server.Log(r, number); !strings.Contains(log, "runs http://gw/$HOME/"+id+", token of 43") {
			t.Errorf("%s of build %s: got log %s, want the parameters and the token in it", ref, id, log)
		}
	}
	if again := slices.Compact(slices.Sorted(slices.Values(started))); len(again) != n {
		t.Errorf("pipeline names: got %d, want %d", len(again), n)
	}
}

// One push may start several builds of a repository that Drone does not know yet.
func TestManyStartsActivateARepositoryOnce(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddUnseen("acme/builder")
	var all sync.WaitGroup
	for i := range 8 {
		p := e.pipelineOf(t, fmt.Sprint("app-", i))
		all.Go(func() {
			if _, err := e.Start(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if posts := e.requests("POST"); len(posts) != 1+1+8 {
		t.Errorf("requests: got %q, want a sync, an activation and the starts", posts)
	}
}

func TestAConcurrentActivationIsNoError(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddRepository("acme/builder", "main")
	e.instead("POST", "/acme/builder", func(w http.ResponseWriter, r *http.Request) {
		e.server.ServeHTTP(httptest.NewRecorder(), r)
		respondStatus(500, "Optimistic Lock Error")(w, r)
	})
	if a := e.started(t); a.EngineRef != "acme/builder#1" {
		t.Errorf("pipeline: got %s, want acme/builder#1", a.EngineRef)
	}
}

// F14: the CI accepted the start, but its answer was lost.
func TestF14StartFindsABuildAfterALostResponse(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	r := e.server.AddRepository("acme/builder", "main")
	e.server.LoseResponse()
	ref, err := e.Start(t.Context(), e.pipeline(t))
	if ref != "acme/builder#1" || err != nil {
		t.Errorf("ref: got %q, %v, want acme/builder#1", ref, err)
	}
	if got := len(e.server.Builds(r)); got != 1 {
		t.Errorf("builds: got %d, want one", got)
	}
}

// Other users may copy a build's parameters. Their builds are not ours.
func TestOnlyOurOwnBuildsAreFound(t *testing.T) {
	const list = `[null,
		{"number":9,"event":"custom","trigger":"mallory","status":"running","params":{%[1]s}},
		{"number":8,"event":"promote","trigger":"slipway","status":"running","params":{%[1]s}},
		{"number":7,"event":"custom","trigger":"slipway","status":"running","params":{}},
		{"number":6,"event":"custom","trigger":"slipway","status":"running","params":null},
		{"number":5,"event":"custom","trigger":"slipway","status":"running","params":{%[1]s}}]`
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddRepository("acme/builder", "main")
	e.instead(
		"GET", "/builds",
		respond(fmt.Sprintf(list, `"SLIPWAY_BUILD":"b1","SLIPWAY_ATTEMPT":"2","SLIPWAY_NONCE":"n"`)),
	)
	if err := e.Cancel(
		t.Context(),
		autobuild.Attempt{BuildID: "b1", Number: 2, EngineRef: "acme/builder"},
	); err != nil {
		t.Fatal(err)
	}
	if got := e.requests("DELETE"); !slices.Equal(got, []string{"DELETE /api/repos/acme/builder/builds/5"}) {
		t.Errorf("cancel requests: got %q, want one for build 5", got)
	}
	state, err := e.State(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder"})
	if state.State != autobuild.PipelineGone || err != nil {
		t.Errorf("state of another attempt: got %+v, error %v, want gone", state, err)
	}
}

func TestAnOlderBuildIsFoundOnTheSecondPage(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddRepository("acme/builder", "main")
	e.instead("GET", "/builds", func(w http.ResponseWriter, r *http.Request) {
		builds := make([]string, 100)
		for i := range builds {
			builds[i] = `{"number":1000,"event":"push"}`
		}
		if r.URL.Query().Get("page") == "2" {
			builds = []string{
				`{"number":3,"event":"custom","trigger":"slipway","status":"pending",` +
					`"params":{"SLIPWAY_BUILD":"b1","SLIPWAY_ATTEMPT":"1","SLIPWAY_NONCE":"n"}}`,
			}
		}
		fmt.Fprint(w, "["+strings.Join(builds, ",")+"]")
	})
	state, err := e.State(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder"})
	if state.State != autobuild.PipelineQueued || err != nil {
		t.Errorf("state: got %+v, error %v, want queued", state, err)
	}
}

func TestStates(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddRepository("acme/builder", "main")
	a := autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder#4"}
	for status, want := range map[string]autobuild.PipelineState{
		"pending": autobuild.PipelineQueued, "blocked": autobuild.PipelineQueued,
		"waiting_on_dependencies": autobuild.PipelineQueued,
		"running":                 autobuild.PipelineRunning, "killed": autobuild.PipelineCancelled,
		"declined": autobuild.PipelineCancelled,
		"success":  autobuild.PipelineGone, "failure": autobuild.PipelineGone,
		"error": autobuild.PipelineGone, "skipped": autobuild.PipelineGone,
	} {
		e.instead("GET", "/builds/4", respond(fmt.Sprintf(`{"number":4,"status":%q}`, status)))
		if got, err := e.State(t.Context(), a); got.State != want || err != nil {
			t.Errorf("state of status %s: got %+v, error %v, want %s", status, got, err, want)
		}
	}
	e.instead("GET", "/builds/4", respond("null"))
	if got, err := e.State(t.Context(), a); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("state of a null status: got %+v, error %v, want ErrUnavailable", got, err)
	}
	for _, ref := range []string{
		"acme/builder#5", "acme/gone#1", "acme/..#1", "acme/a/b#1", "acme/a?b#1", "acme/%2e%2e#1", "/#1",
	} {
		got, err := e.State(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: ref})
		if got.State != autobuild.PipelineGone || err != nil {
			t.Errorf("state of %s: got %+v, error %v, want gone", ref, got, err)
		}
	}
	for _, line := range e.requests("GET") {
		if strings.ContainsAny(line, "%?") || strings.Contains(line, "..") {
			t.Errorf("request: got %s, want none", line)
		}
	}
}

func TestCancel(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder", Step: pipeline.Step{Image: script(t, "exec sleep 60")}})
	r := e.server.AddRepository("acme/builder", "main")
	a := e.started(t)
	for range 2 { // the second time it is finished
		if err := e.Cancel(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if state, err := e.State(t.Context(), a); state.State != autobuild.PipelineCancelled || err != nil {
		t.Errorf("state: got %+v, error %v, want cancelled", state, err)
	}
	e.waitFinished(t, r, 1)
}

func TestLogs(t *testing.T) {
	e := newEnv(
		t,
		drone.Options{
			Repository: "acme/builder",
			Step:       pipeline.Step{Image: script(t, "seq 1000; echo last words; exit 7")},
		},
	)
	r := e.server.AddRepository("acme/builder", "main")
	a := e.started(t)
	e.waitFinished(t, r, 1)
	lines, err := e.Logs(t.Context(), a)
	if err != nil || len(lines) != 201 {
		t.Fatalf("lines: got %d, %v, want 201", len(lines), err)
	}
	if lines[0] != "802" {
		t.Errorf("first line: got %q, want 802", lines[0])
	}
	want := []string{"1000", "last words", "Drone: step build ended with exit code 7"}
	if got := lines[198:]; !slices.Equal(got, want) {
		t.Errorf("last lines: got %q, want %q", got, want)
	}
}

func TestLogsAreBounded(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddRepository("acme/builder", "main")
	e.instead("GET", "", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/builds/1"):
			fmt.Fprint(
				w,
				`{"number":1,"status":"error","error":"no space",`+
					`"stages":[null,{"number":1,"error":"stage's","steps":[null,`+
					`{"number":1,"name":"a"},{"number":2,"name":"skipped"}]}]}`,
			)
		case strings.HasSuffix(r.URL.Path, "/logs/1/1"):
			fmt.Fprintf(w, `[null%s]`, strings.Repeat(fmt.Sprintf(`,{"out":"%s\r\n"}`, strings.Repeat("x", 5000)), 40))
		default:
			respondStatus(404, "sql: no rows in result set")(w, r)
		}
	})
	lines, err := e.Logs(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder#1"})
	if err != nil || len(lines) != 17 {
		t.Fatalf("lines: got %d, %v, want 17", len(lines), err)
	}
	if got := len(lines[0]); got != 4096 {
		t.Errorf("first line: got %d bytes, want 4096", got)
	}
	if got, want := lines[15:], []string{"Drone: stage's", "Drone: no space"}; !slices.Equal(got, want) {
		t.Errorf("last lines: got %q, want %q", got, want)
	}
}

func TestPipelineURL(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddRepository("acme/builder", "main")
	a := e.started(t)
	byParameters := a
	byParameters.EngineRef = "acme/builder"
	for _, one := range []autobuild.Attempt{a, byParameters} {
		if got, err := e.PipelineURL(t.Context(), one); err != nil || got != e.api+"/acme/builder/1" {
			t.Errorf("address of %s: got %q, error %v, want %q", one.EngineRef, got, err, e.api+"/acme/builder/1")
		}
	}
	for _, ref := range []string{"", "acme/builder#99", "..//evil.example#1", "@evil.example/x#1"} {
		a.EngineRef = ref
		if got, err := e.PipelineURL(t.Context(), a); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("URL of %q: got %q, error %v, want ErrNotFound", ref, got, err)
		}
	}
}
