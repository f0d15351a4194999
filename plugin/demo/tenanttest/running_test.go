package tenanttest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/localenv"
	"slipway/runner/spec"
)

// run pushes a commit and waits until its build has printed the tenant's canary. The build then runs
// longer than the test.
func (e *env) run(t *tenant) {
	e.T.Helper()
	commit := t.project.Commit(t.canaries["commit message"], map[string]string{
		"Dockerfile": "FROM " + e.Registry + "/library/base:1\nRUN echo " + t.logged + " && sleep 300\n",
	})
	t.project.Push("main")
	t.canaries["commit hash"] = commit
	if e.engine == "own" {
		t.build = t.project.WaitNewest(1, autobuild.Starting)
		e.runByHand(t, commit)
	} else {
		t.build = t.project.WaitNewest(1, autobuild.Running)
		t.attemptToken = e.tokenOf(t.build)
	}
	t.build = t.project.WaitNewest(1, autobuild.Running)
	_, err := e.Browser.WaitLog(e.Context, t.build, 1, func(log string) bool { return strings.Contains(log, t.logged) })
	e.Must(err)
}

// runByHand claims the tenant's build as a step in their own pipeline does.
func (e *env) runByHand(t *tenant, commit string) {
	e.T.Helper()
	body := fmt.Sprintf(`{"ref":"refs/heads/main","commit":"%s","pipeline":"by hand"}`, commit)
	response := e.program("POST", "/runner/v1/automated/"+t.automatedBuild+"/join", t.pipelineToken, body)
	reply, err := spec.DecodePipelineReply(strings.NewReader(response.Body))
	if response.Status != http.StatusOK {
		e.T.Fatalf("join build %s: got status %d %s, want 200", t.build.ID, response.Status, response.Body)
	}
	e.Must(err)
	if reply.BuildID != t.build.ID {
		e.T.Fatalf("join: got build %s, want %s", reply.BuildID, t.build.ID)
	}
	t.attemptToken = reply.Token.Reveal()
	for _, step := range []struct{ path, body string }{
		{"claim", `{"runner_id":"by-hand"}`}, {"log?offset=0", t.logged + "\n"},
	} {
		response := e.program("POST", "/runner/v1/builds/"+t.build.ID+"/"+step.path, t.attemptToken, step.body)
		if response.Status != http.StatusOK {
			e.T.Fatalf(
				"%s of build %s: got status %d %s, want 200",
				step.path,
				t.build.ID,
				response.Status,
				response.Body,
			)
		}
	}
}

// tokenOf reads the token of a running attempt from the environment of its runner. This needs root.
func (e *env) tokenOf(b autobuild.Build) (token string) {
	e.T.Helper()
	e.WaitUntil("the runner of build "+b.ID+" is found", func() (bool, error) {
		all, err := localenv.Processes()
		for _, p := range all {
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.ID))
			if err != nil || !strings.Contains(string(environ), "/runner/v1/builds/"+b.ID) {
				continue // it has ended, or is another program
			}
			for line := range strings.SplitSeq(string(environ), "\x00") {
				name, value, _ := strings.Cut(line, "=")
				if name == "SLIPWAY_RUNNER_TOKEN" || name == "PLUGIN_RUNNER_TOKEN" {
					token = value
				}
			}
		}
		return token != "", err
	})
	return token
}

// alive checks that the tenants' builds, automated builds and tokens are unchanged.
func (e *env) alive() {
	e.T.Helper()
	for _, t := range e.tenants {
		b := t.project.WaitNewest(1, autobuild.Running)
		if b.ID != t.build.ID {
			e.T.Errorf("%s: got build %s, want %s", t.person.Name, b.ID, t.build.ID)
		}
		if b.Attempt != 1 {
			e.T.Errorf("%s: got attempt %d, want 1", t.person.Name, b.Attempt)
		}
		response := e.program("POST", "/runner/v1/builds/"+t.build.ID+"/events", t.attemptToken, `{"events":[]}`)
		if response.Status != http.StatusOK {
			e.T.Errorf("attempt token of %s: got status %d %s, want 200", t.person.Name, response.Status, response.Body)
		}
		s, err := e.Gateway.Store(e.Context)
		e.Must(err)
		if _, err := s.AutomatedBuild(e.Context, t.automatedBuild); err != nil {
			e.T.Errorf("automated build of %s: got error %v, want none", t.person.Name, err)
		}
		if _, err := s.Hook(e.Context, t.hook.ID); errors.Is(err, autobuild.ErrNotFound) {
			e.T.Errorf("webhook of %s: got error %v, want none", t.person.Name, err)
		}
		e.Must(s.Close())
	}
}
