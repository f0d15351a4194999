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

// Every way in which a start can be refused has its kind, which decides who waits, and says
// what to mend.
func TestWhatDroneRefusesIsSaid(t *testing.T) {
	const builds, repo = "/builds", "/acme/builder"
	for name, c := range map[string]struct {
		repository   string // the builder repository; empty = the build's own
		method, path string
		answer       http.HandlerFunc
		want         error
		says         string
	}{
		"wrong token":                  {"acme/builder", "GET", "/user", status(401, "Unauthorized"), autobuild.ErrUnauthorized, "SLIPWAY_DRONE_TOKEN"},
		"licence":                      {"acme/builder", "POST", builds, status(402, "Build limit exceeded"), autobuild.ErrForbidden, "licence is used up (Build limit exceeded)"},
		"builder repository closed":    {"acme/builder", "POST", builds, status(403, "Forbidden"), autobuild.ErrForbidden, "administration at Bitbucket"},
		"own repository closed":        {"", "POST", builds, status(403, "Forbidden"), autobuild.ErrNotFound, "administration at Bitbucket"},
		"no webhook in the builder":    {"acme/builder", "POST", repo, status(500, "Forbidden"), autobuild.ErrForbidden, "could not add its webhook"},
		"no webhook in one repository": {"", "POST", "/acme/app", status(500, "Forbidden"), autobuild.ErrNotFound, "could not add its webhook"},
		"activation beyond a licence":  {"", "POST", "/acme/app", status(402, "Repository limit exceeded"), autobuild.ErrForbidden, "licence is used up"},
		"activation unanswered":        {"", "POST", "/acme/app", status(502, ""), autobuild.ErrUnavailable, "activate acme/app"},
		"commit gone":                  {"", "POST", builds, status(404, "Commit not found"), autobuild.ErrNotFound, "Commit not found"},
		"builder's branch gone":        {"acme/builder", "POST", builds, status(404, "Not Found"), autobuild.ErrForbidden, "builder repository"},
		"no configuration":             {"acme/builder", "POST", builds, status(500, "Not Found"), autobuild.ErrUnavailable, "are DRONE_YAML_ENDPOINT"},
		"refused by us":                {"acme/builder", "POST", builds, status(500, "the gateway refused, its log says why"), autobuild.ErrUnavailable, "its log says why"},
		"in front of it":               {"acme/builder", "POST", builds, status(503, "upstream"), autobuild.ErrUnavailable, "503 (upstream)"},
		"too much":                     {"acme/builder", "POST", builds, status(429, "slow down"), autobuild.ErrUnavailable, "429 (slow down)"},
		"not understood":               {"acme/builder", "POST", builds, status(400, "bad"), nil, "400 (bad)"},
		"nothing matched":              {"acme/builder", "POST", builds, says("null"), autobuild.ErrForbidden, "DRONE_YAML_ENDPOINT"},
		"lint":                         {"acme/builder", "POST", builds, says(`{"number":7,"status":"error","error":"linter: no"}`), autobuild.ErrForbidden, "does not run build 7 of acme/builder: linter: no"},
		"a login before it":            {"acme/builder", "GET", "/user", http.RedirectHandler("http://sso/", http.StatusFound).ServeHTTP, autobuild.ErrForbidden, "redirect (302)"},
		"a page":                       {"acme/builder", "GET", "/user", says("<html>"), autobuild.ErrUnavailable, "does not answer as Drone does"},
		"nobody":                       {"acme/builder", "GET", "/user", says("null"), autobuild.ErrUnavailable, "does not answer as Drone does"},
		"no repository":                {"acme/builder", "GET", repo, says("null"), autobuild.ErrUnavailable, "does not answer as Drone does"},
		"activated nothing":            {"acme/builder", "POST", repo, says("null"), autobuild.ErrUnavailable, "does not answer as Drone does"},
		"endless":                      {"acme/builder", "GET", builds, endless, autobuild.ErrUnavailable, "longer than 8388608 bytes"},
		"sync fails":                   {"", "POST", "/user/repos", status(500, "Not Authorized"), autobuild.ErrUnavailable, "sync Drone's repositories"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, drone.Options{Repository: c.repository})
			if name != "sync fails" {
				b.server.AddRepository("acme/app", "main")
			}
			b.server.AddRepository("acme/builder", "main")
			b.instead(c.method, c.path, c.answer)
			p := b.pipeline(t)
			_, err := b.Start(shortly(t), p)
			switch {
			case err == nil || c.want != nil && !errors.Is(err, c.want):
				t.Errorf("%v, want %v", err, c.want)
			case c.want == nil && (errors.Is(err, autobuild.ErrUnavailable) || errors.Is(err, autobuild.ErrForbidden)):
				t.Errorf("the build would wait for %v", err)
			case c.want == autobuild.ErrNotFound && errors.Is(err, autobuild.ErrForbidden): //nolint:errorlint // the table's own value
				t.Errorf("all builds would wait for %v", err)
			case !strings.Contains(err.Error(), c.says):
				t.Errorf("it says %q, want %q in it", err, c.says)
			}
			if name == "refused by us" && strings.Contains(err.Error(), "DRONE_YAML_ENDPOINT") {
				t.Errorf("our own refusal is taken for a missing endpoint: %v", err)
			}
		})
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("["))
	for range 9 << 10 {
		if _, err := fmt.Fprint(w, strings.Repeat(" ", 1<<10)); err != nil {
			return
		}
	}
}

func TestNoServer(t *testing.T) {
	b := newBench(t, drone.Options{Server: "http://127.0.0.1:1", Repository: "acme/builder"})
	_, err := b.Start(t.Context(), b.pipeline(t))
	if !errors.Is(err, autobuild.ErrUnavailable) || !strings.Contains(err.Error(), "http://127.0.0.1:1: ") || strings.Contains(err.Error(), "/api/") {
		t.Error(err)
	}
}

// What Drone has no configuration for it answers late, with 500.
func TestWithoutOurExtensionAStartSaysWhatIsMissing(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	r := b.server.AddRepository("acme/builder", "main")
	b.server.SetExtensions(dronetest.Extensions{})
	if _, err := b.Start(shortly(t), b.pipeline(t)); !errors.Is(err, autobuild.ErrUnavailable) || !strings.Contains(err.Error(), "are DRONE_YAML_ENDPOINT") {
		t.Errorf("without any configuration: %v", err)
	}
	b.server.SetConfig(r, "kind: pipeline\ntype: exec\nname: own\ntrigger: {event: [push]}\nsteps: [{name: a, commands: [true]}]")
	if _, err := b.Start(shortly(t), b.pipelineOf(t, "two")); !errors.Is(err, autobuild.ErrForbidden) || !strings.Contains(err.Error(), "made no build") {
		t.Errorf("with the repository's own configuration for pushes: %v", err)
	}
	b.server.SetConfig(r, "kind: pipeline\ntype: exec\nname: own\nsteps: [{name: '', commands: [true]}]")
	if _, err := b.Start(shortly(t), b.pipelineOf(t, "three")); !errors.Is(err, autobuild.ErrForbidden) || !strings.Contains(err.Error(), "linter") {
		t.Errorf("with one that Drone does not run: %v", err)
	}
}

// A start carries our three parameters and an action, and neither token nor secret.
func TestAStartSaysLittle(t *testing.T) {
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
			b := newBench(t, drone.Options{Repository: c.repository})
			b.server.AddUnseen("acme/builder")
			b.server.AddUnseen("acme/app")
			p := b.pipeline(t)
			p.Ref = c.ref
			ref, err := b.Start(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := b.Start(t.Context(), p); again != ref || err != nil {
				t.Errorf("started again as %s, not %s, %v", again, ref, err)
			}
			posts := b.requests("POST")
			if len(posts) != 3 || posts[0] != "POST /api/user/repos" {
				t.Fatalf("%q, want a sync, an activation and a start", posts)
			}
			u, err := url.Parse(strings.TrimPrefix(posts[2], "POST "))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			want := url.Values{"SLIPWAY_BUILD": {p.BuildID}, "SLIPWAY_ATTEMPT": {"1"}, "SLIPWAY_NONCE": q["SLIPWAY_NONCE"], "action": {"slipway-" + p.BuildID + "-1"}, "branch": {c.branch}}
			if q.Del("commit"); u.Path != c.path || q.Encode() != want.Encode() || u.Query().Get("commit") != c.commit {
				t.Errorf("started by %s", u)
			}
			for _, line := range b.requests("") {
				if strings.Contains(line, b.token) {
					t.Errorf("the token is in %s", line)
				}
			}
		})
	}
}

// Drone remembers configurations by what two builds of one commit and second have in common.
func TestManyStartsAtOnceEachRunTheirOwn(t *testing.T) {
	const n = 12
	b := newBench(t, drone.Options{Repository: "acme/builder", Step: pipeline.Step{
		Image: script(t, `echo "runs $SLIPWAY_RUNNER_URL, token of ${#SLIPWAY_RUNNER_TOKEN}"`), URL: func(id string) string { return "http://gw/$HOME/" + id },
	}})
	r := b.server.AddRepository("acme/builder", "main")
	var all sync.WaitGroup
	started := make([]string, n)
	for i := range n {
		p := b.pipelineOf(t, fmt.Sprint("app-", i))
		all.Go(func() {
			ref, err := b.Start(t.Context(), p)
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
		b.over(t, r, number)
		if log := b.server.Log(r, number); !strings.Contains(log, "runs http://gw/$HOME/"+id+", token of 43") {
			t.Errorf("%s of build %s printed %s", ref, id, log)
		}
	}
	if again := slices.Compact(slices.Sorted(slices.Values(started))); len(again) != n {
		t.Errorf("%d names of %d pipelines", len(again), n)
	}
}

// One push may start several builds of a repository that Drone has not seen.
func TestManyStartsActivateARepositoryOnce(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddUnseen("acme/builder")
	var all sync.WaitGroup
	for i := range 8 {
		p := b.pipelineOf(t, fmt.Sprint("app-", i))
		all.Go(func() {
			if _, err := b.Start(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if posts := b.requests("POST"); len(posts) != 1+1+8 {
		t.Errorf("%q, want a sync, an activation and the starts", posts)
	}
}

func TestAnotherMayHaveActivatedTheRepository(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddRepository("acme/builder", "main")
	b.instead("POST", "/acme/builder", func(w http.ResponseWriter, r *http.Request) {
		b.server.ServeHTTP(httptest.NewRecorder(), r)
		status(500, "Optimistic Lock Error")(w, r)
	})
	if a := b.started(t); a.EngineRef != "acme/builder#1" {
		t.Errorf("started as %s", a.EngineRef)
	}
}

func TestAStartWhoseAnswerIsLostIsFound(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	r := b.server.AddRepository("acme/builder", "main")
	b.server.LoseAnswer()
	if ref, err := b.Start(t.Context(), b.pipeline(t)); ref != "acme/builder#1" || err != nil || len(b.server.Builds(r)) != 1 {
		t.Errorf("started %d times, as %q, %v", len(b.server.Builds(r)), ref, err)
	}
}

// Others may copy a build's parameters; theirs are not ours.
func TestOnlyOurOwnBuildsAreFound(t *testing.T) {
	const list = `[null,
		{"number":9,"event":"custom","trigger":"mallory","status":"running","params":{%[1]s}},
		{"number":8,"event":"promote","trigger":"slipway","status":"running","params":{%[1]s}},
		{"number":7,"event":"custom","trigger":"slipway","status":"running","params":{}},
		{"number":6,"event":"custom","trigger":"slipway","status":"running","params":null},
		{"number":5,"event":"custom","trigger":"slipway","status":"running","params":{%[1]s}}]`
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddRepository("acme/builder", "main")
	b.instead("GET", "/builds", says(fmt.Sprintf(list, `"SLIPWAY_BUILD":"b1","SLIPWAY_ATTEMPT":"2","SLIPWAY_NONCE":"n"`)))
	if err := b.Cancel(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 2, EngineRef: "acme/builder"}); err != nil {
		t.Fatal(err)
	}
	if got := b.requests("DELETE"); !slices.Equal(got, []string{"DELETE /api/repos/acme/builder/builds/5"}) {
		t.Errorf("cancelled by %q", got)
	}
	if state, err := b.State(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder"}); state != autobuild.PipelineGone || err != nil {
		t.Errorf("another attempt is %s, %v", state, err)
	}
}

func TestAnOlderBuildIsFoundOnTheSecondPage(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddRepository("acme/builder", "main")
	b.instead("GET", "/builds", func(w http.ResponseWriter, r *http.Request) {
		builds := make([]string, 100)
		for i := range builds {
			builds[i] = `{"number":1000,"event":"push"}`
		}
		if r.URL.Query().Get("page") == "2" {
			builds = []string{`{"number":3,"event":"custom","trigger":"slipway","status":"pending","params":{"SLIPWAY_BUILD":"b1","SLIPWAY_ATTEMPT":"1","SLIPWAY_NONCE":"n"}}`}
		}
		fmt.Fprint(w, "["+strings.Join(builds, ",")+"]")
	})
	state, err := b.State(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder"})
	if state != autobuild.PipelineQueued || err != nil {
		t.Errorf("it is %s, %v", state, err)
	}
}

func TestStates(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddRepository("acme/builder", "main")
	a := autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder#4"}
	for status, want := range map[string]autobuild.PipelineState{
		"pending": autobuild.PipelineQueued, "blocked": autobuild.PipelineQueued, "waiting_on_dependencies": autobuild.PipelineQueued,
		"running": autobuild.PipelineRunning, "killed": autobuild.PipelineCancelled, "declined": autobuild.PipelineCancelled,
		"success": autobuild.PipelineGone, "failure": autobuild.PipelineGone, "error": autobuild.PipelineGone, "skipped": autobuild.PipelineGone,
	} {
		b.instead("GET", "/builds/4", says(fmt.Sprintf(`{"number":4,"status":%q}`, status)))
		if got, err := b.State(t.Context(), a); got != want || err != nil {
			t.Errorf("%s is %s, %v, want %s", status, got, err, want)
		}
	}
	b.instead("GET", "/builds/4", says("null"))
	if got, err := b.State(t.Context(), a); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("null is %s, %v", got, err)
	}
	for _, ref := range []string{"acme/builder#5", "acme/gone#1", "acme/..#1", "acme/a/b#1", "acme/a?b#1", "acme/%2e%2e#1", "/#1"} {
		if got, err := b.State(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: ref}); got != autobuild.PipelineGone || err != nil {
			t.Errorf("%s is %s, %v", ref, got, err)
		}
	}
	for _, line := range b.requests("GET") {
		if strings.ContainsAny(line, "%?") || strings.Contains(line, "..") {
			t.Errorf("asked for %s", line)
		}
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder", Step: pipeline.Step{Image: script(t, "exec sleep 60")}})
	r := b.server.AddRepository("acme/builder", "main")
	a := b.started(t)
	for range 2 { // the second time it is over
		if err := b.Cancel(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if state, err := b.State(t.Context(), a); state != autobuild.PipelineCancelled || err != nil {
		t.Errorf("it is %s, %v", state, err)
	}
	b.over(t, r, 1)
}

func TestLogs(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder", Step: pipeline.Step{Image: script(t, "seq 1000; echo last words; exit 7")}})
	r := b.server.AddRepository("acme/builder", "main")
	a := b.started(t)
	b.over(t, r, 1)
	lines, err := b.Logs(t.Context(), a)
	if err != nil || len(lines) != 201 || lines[0] != "802" || !slices.Equal(lines[198:], []string{"1000", "last words", "Drone: step build ended with exit code 7"}) {
		t.Errorf("%d lines, %q…, %v", len(lines), lines[max(0, len(lines)-4):], err)
	}
}

func TestLogsAreBounded(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddRepository("acme/builder", "main")
	b.instead("GET", "", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/builds/1"):
			fmt.Fprint(w, `{"number":1,"status":"error","error":"no space","stages":[null,{"number":1,"error":"stage's","steps":[null,{"number":1,"name":"a"},{"number":2,"name":"skipped"}]}]}`)
		case strings.HasSuffix(r.URL.Path, "/logs/1/1"):
			fmt.Fprintf(w, `[null%s]`, strings.Repeat(fmt.Sprintf(`,{"out":"%s\r\n"}`, strings.Repeat("x", 5000)), 40))
		default:
			status(404, "sql: no rows in result set")(w, r)
		}
	})
	lines, err := b.Logs(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1, EngineRef: "acme/builder#1"})
	if err != nil || len(lines) != 17 || len(lines[0]) != 4096 || lines[15] != "Drone: stage's" || lines[16] != "Drone: no space" {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}

func TestPipelineURL(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder"})
	b.server.AddRepository("acme/builder", "main")
	a := b.started(t)
	byParameters := a
	byParameters.EngineRef = "acme/builder"
	for _, one := range []autobuild.Attempt{a, byParameters} {
		if got, err := b.PipelineURL(t.Context(), one); err != nil || got != b.api+"/acme/builder/1" {
			t.Errorf("%s is at %q, %v", one.EngineRef, got, err)
		}
	}
	for _, ref := range []string{"", "acme/builder#99", "..//evil.example#1", "@evil.example/x#1"} {
		a.EngineRef = ref
		if got, err := b.PipelineURL(t.Context(), a); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("%q is at %q, %v", ref, got, err)
		}
	}
}
