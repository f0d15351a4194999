package attacktest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// An attack returns the evidence that it reached its canary, or "" if it failed.
type attack func(e *env) (evidence string)

// attacks returns the attacks by folder in testdata/attacks.
func attacks() map[string]attack {
	return map[string]attack{
		"a1-claim-by-hand":  func(e *env) string { return e.reached(e.claimByHand(e.plant().Repository.FullName())) },
		"a1-hook":           fromHook,
		"a1b-claim-by-hand": func(e *env) string { return e.reached(e.claimByHand(e.plant().Repository.FullName())) },
		"a1b-from":          fromBase,
		"a1b-post-push":     fromPostPush,
		"a2-files":          several,
		"a2-links":          symlinks,
		"a2-network":        several,
		"a2-processes":      processes,
		"a3-cache":          fromCache,
		"a4-sources":        sources,
		"a5-network":        several,
		"a6-disk":           several,
		"a6-disk-run":       fillDisk,
		"a6-memory":         func(e *env) string { return e.overLimit("killed: out of memory, limit 512 MB") },
		"a6-processes":      func(e *env) string { return e.overLimit("fork failed, limit 300 processes") },
		"a7.3-digest":       func(e *env) string { return e.reached(e.claimByHand("")) },
		"a7.3-finish":       func(e *env) string { return e.reached(e.claimByHand("")) },
		"a7.3-stages":       func(e *env) string { return e.reached(e.claimByHand("")) },
		"a7.3-tags":         func(e *env) string { return e.reached(e.claimByHand("")) },
		"a7.4-masking":      masking,
		"a7.6-reader":       reader,
		"a8-log-escapes":    escapes,
		"a8-prefix":         func(e *env) string { return e.reached(e.probe(nil)) },
		"a8-sessions":       sessions,
		"a8-unknown-hooks":  unknownHooks,
	}
}

// TestAttacks runs every attack. It passes if all of them fail.
func TestAttacks(t *testing.T) {
	demotest.RequireTools(t)
	needProgram(t, "curl", "awk", "od", "base64", "perl", "ip")
	all := attacks()
	if diff := cmp.Diff(attackNames(t), slices.Sorted(maps.Keys(all))); diff != "" {
		t.Fatalf("attacks (-testdata/attacks +table):\n%s", diff)
	}
	e := open(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			if evidence := all[name](e.attack(t, name)); evidence != "" {
				t.Errorf("canary reached: got %s, want none", evidence)
			}
		})
	}
}

// fromHook: a build hook searches for a credential for another repository.
func fromHook(e *env) string {
	victim := e.plant().Repository.FullName()
	i := e.enter(nil)
	_, number := e.end(i.Project, e.push(i, map[string]string{"VICTIM": victim}))
	log := e.log(number)
	if !strings.Contains(log, "attack: done") {
		e.T.Fatalf("hook: got no end, want one:\n%s", clip(log))
	}
	return e.reached(log)
}

// fromBase: a Dockerfile uses the private image of another repository.
func fromBase(e *env) string {
	victim := e.plant().Repository.FullName()
	i := e.enter(nil)
	_, number := e.end(i.Project, e.push(i, map[string]string{"VICTIM": victim}))
	log := e.log(number)
	if !strings.Contains(log, victim+":latest") {
		e.T.Fatalf("build: got no FROM line, want one:\n%s", clip(log))
	}
	return e.reached(log)
}

// fromPostPush: a hook replaces the image of another repository.
func fromPostPush(e *env) string {
	victim := e.plant()
	attacker := e.canary() + "-replaced"
	i := e.enter(nil)
	_, number := e.end(i.Project, e.push(i, map[string]string{
		"VICTIM": victim.Repository.FullName(), "ATTACKER": i.Repository.FullName(), "CANARY": attacker,
	}))
	log := e.log(number)
	if !strings.Contains(log, "attack: done") {
		e.T.Fatalf("hook: got no end, want one:\n%s", clip(log))
	}
	image, digest, err := e.Pull(e.Context, victim.Image+":latest")
	e.Must(err)
	content, err := localenv.ReadFile(image, "canary.txt")
	e.Must(err)
	if strings.TrimSpace(content) == e.canary() {
		return ""
	}
	return fmt.Sprintf("%s:latest is now %s with content %q", victim.Image, digest, content)
}

// overLimit: a Dockerfile takes more than a build may have. why is the reason in the log.
func (e *env) overLimit(why string) string {
	i := e.enter(nil)
	state, number := e.end(i.Project, e.push(i, nil))
	log := e.log(number)
	if evidence := e.reached(log); evidence != "" {
		return evidence
	}
	if state != "FAILED" || !strings.Contains(log, why) {
		e.T.Fatalf("got status %s, want FAILED with %q in the log:\n%s", state, why, clip(log))
	}
	return ""
}

// masking: a hook prints a secret in encoded forms.
func masking(e *env) string {
	i := e.enter(map[string]secret.Secret{"CANARY": secret.New(e.canary())})
	_, number := e.end(i.Project, e.push(i, nil))
	log := e.log(number)
	shown, ok := between(log, "plain")
	if !ok {
		e.T.Fatalf("hook: got no output, want some:\n%s", clip(log))
	}
	if strings.Contains(shown, e.canary()) {
		e.T.Fatalf("log: got the plain secret, want it masked:\n%s", clip(log))
	}
	names, err := os.ReadFile(filepath.Join(e.dir, "forms"))
	e.Must(err)
	var leaked []string
	for name := range strings.FieldsSeq(string(names)) {
		shown, ok := between(log, name)
		if !ok {
			e.T.Fatalf("output of the hook: got no form %s, want one:\n%s", name, clip(log))
		}
		if shown == encode(e.canary(), name) {
			leaked = append(leaked, fmt.Sprintf("%s: %q", name, shown))
		}
	}
	return strings.Join(leaked, "; ")
}

// reader: a person without permission reads the builds and logs of a private repository.
func reader(e *env) string {
	browser, err := e.SignIn(e.Context, e.carol)
	e.Must(err)
	e.setRole(e.carol, "viewer")
	p := e.project("private-"+filepath.Base(e.dir), map[string]string{"Dockerfile": "FROM scratch\n"})
	e.Must(p.Automate(e.Context, e.Browser, demotest.MainRule()))
	page, err := e.Browser.Path()
	e.Must(err)
	text, err := os.ReadFile(filepath.Join(e.dir, "repository", "Dockerfile"))
	e.Must(err)
	commit := p.Commit(e.canary(), map[string]string{"Dockerfile": e.fill(string(text), nil)})
	p.Push("main")
	_, number := e.end(p, commit)
	if log := e.log(number); !strings.Contains(log, e.canary()) {
		e.T.Fatalf("log: got no canary, want one:\n%s", clip(log))
	}
	found := e.probe(map[string]string{
		"COOKIE": browser.SessionCookie(), "BUILD": fmt.Sprint(number), "AUTOMATED_BUILD": filepath.Base(page),
	})
	if name := p.Repository.FullName(); strings.Contains(found, name) {
		return "a response contains " + name + "; " + e.reached(found)
	}
	return e.reached(found)
}

// escapes: a log contains terminal escape sequences.
func escapes(e *env) string {
	i := e.enter(nil)
	_, number := e.end(i.Project, e.push(i, nil))
	log, err := e.Browser.Fetch(e.Context, fmt.Sprintf("/builds/%d/log", number)) // the URL that the page uses
	e.Must(err)
	if !strings.Contains(log, "after") {
		e.T.Fatalf("log: got no output of the step, want it:\n%s", clip(log))
	}
	if at := strings.IndexByte(log, 0x1b); at >= 0 {
		return fmt.Sprintf("%q", log[at:min(at+20, len(log))])
	}
	return ""
}

// sessions: a stolen cookie is used after the administrator ended the sessions of its owner.
func sessions(e *env) string {
	browser, err := e.SignIn(e.Context, e.carol)
	e.Must(err)
	stolen := browser.SessionCookie()
	if got := e.reached(e.probe(map[string]string{"COOKIE": stolen})); got == "" {
		e.T.Fatal("cookie before the sessions end: got an invalid one, want a valid one")
	}
	if !e.endSessions(e.carol) {
		e.setRole(e.carol, "none") // the alternative on a page without that button
	}
	return e.reached(e.probe(map[string]string{"COOKIE": stolen}))
}

// unknownHooks: unauthenticated requests fill the gateway's log, one line each.
func unknownHooks(e *env) string {
	lines := func() int {
		text, err := os.ReadFile(e.Gateway.LogFile())
		e.Must(err)
		return strings.Count(string(text), "\n")
	}
	const sent = 200 // by the probe
	before := lines()
	printed := e.probe(nil)
	if !strings.Contains(printed, " 401\n") && !strings.Contains(printed, " 404\n") {
		e.T.Fatalf("rejected requests: got none of %d, want at least 1: %s", sent, printed)
	}
	if grown := lines() - before; grown >= sent {
		return fmt.Sprintf("%d lines for %d requests", grown, sent)
	}
	return ""
}
