package runner_test

import (
	"strings"
	"testing"

	"slipway/runner"
	"slipway/runner/source/sourcetest"
)

// A hook gets no credential for the repository: it finds none in its environment, in git's
// configuration or in arguments, its fetch of a private repository fails, and the log says so.
func TestHooksGetNoCredentialForTheRepository(t *testing.T) {
	w := newWorld(t)
	b := w.push(map[string]string{
		"svc/Dockerfile": "FROM scratch\n",
		hook("post_checkout"): "#!/bin/sh\nenv | grep -v NPM_TOKEN\ngit config --list\ncat ../.git/config\n" +
			"GIT_TERMINAL_PROMPT=0 git fetch --unshallow && echo fetched || echo not fetched\nexit 0\n",
	})
	token := w.start(b)
	stop := argv()
	err := runner.Run(t.Context(), w.options(b, token))
	started := stop()
	if err != nil {
		t.Fatalf("got %v\n%s", err, w.log(b))
	}
	log := w.log(b)
	for _, want := range []string{
		"build hooks get no credential for the repository: git fetch from a private one fails in them", "not fetched",
		"remote.origin.url=" + w.git.URL + "/app/.git",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not hold %q:\n%s", want, log)
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
			t.Errorf("the log holds %q: a hook could see the token:\n%s", unwanted, log)
		}
	}
}

// Without hooks there is nothing to say about them.
func TestTheLineAboutHooksIsForHooks(t *testing.T) {
	w := newWorld(t)
	b := w.push(dockerfile("FROM scratch\n"))
	if err := w.run(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if log := w.log(b); strings.Contains(log, "build hooks get no credential") {
		t.Errorf("got a line about hooks, want none:\n%s", log)
	}
}
