package attempt_test

import (
	"strings"
	"testing"

	"slipway/runner/attempt"
	"slipway/runner/runnertest"
	"slipway/runner/source/sourcetest"
)

// A hook gets no credential for the repository. Its environment, git's configuration and the arguments
// of processes contain none. Its fetch of a private repository fails, and the log has the reason.
func TestHooksGetNoCredentialForTheRepository(t *testing.T) {
	e := newEnv(t)
	b := e.Push(map[string]string{
		"svc/Dockerfile": "FROM scratch\n",
		runnertest.Hook("post_checkout"): "#!/bin/sh\nenv | grep -v NPM_TOKEN\ngit config --list\ncat ../.git/config\n" +
			"GIT_TERMINAL_PROMPT=0 git fetch --unshallow && echo fetched || echo not fetched\nexit 0\n",
	})
	token := e.Gateway.Start(b)
	stop := runnertest.RecordArguments()
	err := attempt.Run(t.Context(), e.options(b, token))
	started := stop()
	if err != nil {
		t.Fatalf("attempt: %v\n%s", err, e.Log(b))
	}
	log := e.Log(b)
	for _, want := range []string{
		"build hooks get no credential for the repository: in a hook, git fetch from a private repository fails", "not fetched",
		"remote.origin.url=" + e.Git.URL + "/app/.git",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got:\n%s\nwant %q in it", log, want)
		}
	}
	for where, text := range map[string]string{"the log": log, "arguments": started} {
		for _, secret := range []string{token, sourcetest.Password} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: got a token, want none", where)
			}
		}
	}
	for _, unwanted := range []string{"**********", "insteadof", "extraheader"} {
		if strings.Contains(log, unwanted) {
			t.Errorf("log: got:\n%s\nwant no %q in it, because a hook could read the token", log, unwanted)
		}
	}
}

// The line about hooks appears only if the repository has hooks.
func TestTheLogMentionsHooksOnlyIfThereAreHooks(t *testing.T) {
	e := newEnv(t)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	if err := e.run(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if log := e.Log(b); strings.Contains(log, "build hooks get no credential") {
		t.Errorf("got a line about hooks, want none:\n%s", log)
	}
}
