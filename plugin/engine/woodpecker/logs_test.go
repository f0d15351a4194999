package woodpecker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
)

func TestLogsContainOutputAndExitCode(t *testing.T) {
	e := newEnv(t, "acme/builder", "echo one; echo; echo two >&2; echo $PLUGIN_RUNNER_TOKEN; exit 3")
	e.server.Release()
	a := e.start()
	await(t, func() bool {
		state, err := e.State(t.Context(), a)
		return err == nil && state.State == autobuild.PipelineGone
	})
	got, err := e.Logs(t.Context(), a)
	want := []string{"one", "", "two", "********", "Woodpecker: step build ended with exit code 3"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("log lines: error %v (-want +got):\n%s", err, diff)
	}
}

// A pipeline that was not created has no steps, only an error.
func TestLogsOfAPipelineWithoutSteps(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	withoutSecrets(e)
	_, err := e.CI().Create(t.Context(), e.order(autobuild.Ref{}))
	wantError(t, err, autobuild.ErrForbidden, "not found")
	got, err := e.Logs(t.Context(), autobuild.Attempt{BuildID: e.build.ID, Number: 1, EngineRef: "acme/builder#1"})
	want := []string{`Woodpecker: secret "slipway_runner_token" not found`}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("log lines: error %v (-want +got):\n%s", err, diff)
	}
}

// printed makes the server answer for pipeline 7, whose steps 1, 2, ... printed these bodies.
func (e *env) printed(pipeline string, bodies ...string) autobuild.Attempt {
	e.proxy.respond(func(w http.ResponseWriter, r *http.Request) {
		for i, body := range bodies {
			if strings.HasSuffix(r.URL.Path, fmt.Sprintf("/logs/7/%d", i+1)) {
				fmt.Fprint(w, body)
				return
			}
		}
		if strings.HasSuffix(r.URL.Path, "/pipelines/7") {
			fmt.Fprint(w, pipeline)
			return
		}
		e.server.ServeHTTP(w, r)
	})
	return autobuild.Attempt{EngineRef: "acme/builder#7"}
}

// twoSteps is a pipeline with all of Woodpecker's error fields.
const twoSteps = `{"number":7,"status":"failure",
	"errors":[{"message":"a warning","is_warning":true},{"message":"a fault"}],
	"workflows":[{"name":"slipway","error":"agent lost","children":[{"id":1,"name":"clone"},
	{"id":2,"name":"build","error":"oom","exit_code":137}]}]}`

// A body is null if a step printed nothing, and data is null for an empty line.
func TestEmptyLogsAndLines(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	a := e.printed(
		twoSteps,
		"null",
		`[{"line":0,"data":"YQ0K","type":0},{"line":1,"data":null,"type":0},`+
			`{"line":2,"data":"/w==","type":1},{"line":3,"data":"MA==","type":2}]`,
	)
	got, err := e.Logs(t.Context(), a)
	want := []string{
		"a", "", "?", "Woodpecker: agent lost",
		"Woodpecker: step build ended with exit code 137 oom", "Woodpecker: a fault",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("log lines: error %v (-want +got):\n%s", err, diff)
	}
}

func TestOnlyTheLastLinesAreRead(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	body := func(lines int, text string) string {
		type entry struct {
			Data []byte `json:"data"`
		}
		encoded, err := json.Marshal(slices.Repeat([]entry{{[]byte(text)}}, lines))
		must.Succeed(t, err)
		return string(encoded)
	}
	for _, c := range []struct {
		body  string
		lines int
	}{
		{body(1000, "x"), 200},
		{body(1000, strings.Repeat("x", 1<<10)), 64},
		{body(1, strings.Repeat("x", 1<<17)), 0},
	} {
		got, err := e.Logs(t.Context(), e.printed(`{"number":7,"workflows":[{"children":[{"id":1}]}]}`, c.body))
		if err != nil || len(got) != c.lines {
			t.Errorf("lines: got %d, error %v, want %d", len(got), err, c.lines)
		}
	}
	got, err := e.Logs(t.Context(), e.printed(twoSteps, "null", body(10, strings.Repeat("x", 1<<20))))
	must.Succeed(t, err)
	if len(got) != 4 {
		t.Fatalf("lines: got %q, want four", got)
	}
	if want := "(the output of step build is too long to show)"; got[0] != want {
		t.Errorf("logs: got %q, want %q", got[0], want)
	}
}

func TestAMissingLogIsNoError(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	for _, ref := range []string{"acme/builder#99", "acme/none#1", "acme/builder"} {
		if got, err := e.Logs(t.Context(), autobuild.Attempt{BuildID: "x", Number: 1, EngineRef: ref}); err != nil ||
			got != nil {
			t.Errorf("%s: got %q, error %v, want neither", ref, got, err)
		}
	}
	a := e.printed(twoSteps, "null", "<html>")
	if got, err := e.Logs(t.Context(), a); err == nil {
		t.Errorf("log of another step: got %q, want none", got)
	}
}
