package woodpecker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/plugin/engine/pipeline"
)

// inspect says what each subject came to: its problem, or what is good.
func (b *bench) inspect() map[string]pipeline.Finding {
	found := map[string]pipeline.Finding{}
	for _, f := range b.Inspect(b.t.Context()) {
		found[f.Subject] = f
		if strings.Contains(f.Good+f.Problem, "\n") || (f.Good == "") == (f.Problem == "") || strings.Contains(f.Problem, b.token.Reveal()) {
			b.t.Errorf("finding %+v", f)
		}
	}
	return found
}

func TestInspectWhenAllIsWell(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	b.start()
	for subject, says := range map[string]string{
		"server": "Woodpecker 3.17.0 at http://127.0.0.1", "token": "is slipway's", "builder repository": "acme/builder is active",
		"config extension": "well signed", "secret extension": "well signed",
	} {
		if f := b.inspect()[subject]; f.Problem != "" || !strings.Contains(f.Good, says) {
			t.Errorf("%s: %+v, want good: %s", subject, f, says)
		}
	}
}

func TestInspectSaysWhatToMend(t *testing.T) {
	version := func(v string) func(*bench) {
		return func(b *bench) {
			b.line.answer(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/version" {
					status(http.StatusOK, `{"version":"`+v+`"}`)(w, r)
					return
				}
				b.server.ServeHTTP(w, r)
			})
		}
	}
	for name, c := range map[string]struct {
		builder string
		change  func(*bench)
		subject string
		problem string
	}{
		"too old":          {"acme/builder", version("3.13.9"), "server", "needs 3.14: upgrade it"},
		"much too old":     {"acme/builder", version("2.8.0"), "server", "needs 3.14: upgrade it"},
		"just new enough":  {"acme/builder", version("3.14.0-rc.1"), "server", ""},
		"next":             {"acme/builder", version("next-1a2b3c"), "server", ""},
		"version 4":        {"acme/builder", version("4.0.0"), "server", ""},
		"another program":  {"acme/builder", func(b *bench) { b.line.answer(status(http.StatusOK, "<html>")) }, "server", "check SLIPWAY_WOODPECKER_SERVER"},
		"down":             {"acme/builder", func(b *bench) { b.line.answer(drop) }, "server", "does not answer"},
		"clock":            {"acme/builder", func(b *bench) { b.clock.add(time.Hour) }, "server", "start a time service on both"},
		"clock a bit":      {"acme/builder", func(b *bench) { b.clock.add(20 * time.Second) }, "server", ""},
		"token revoked":    {"acme/builder", func(b *bench) { b.server.RevokeTokens() }, "token", "set SLIPWAY_WOODPECKER_TOKEN"},
		"no builder":       {"acme/none", func(*bench) {}, "builder repository", "activate it there"},
		"builder inactive": {"acme/app", func(*bench) {}, "builder repository", "activate it there"},
		"builder's case":   {"ACME/builder", func(*bench) {}, "builder repository", "by the name acme/builder"},
		"may not push":     {"acme/builder", func(b *bench) { b.server.Permit(b.builder, false, false) }, "builder repository", "give it write access"},
		"never asked":      {"acme/builder", func(*bench) {}, "config extension", ""},
		"refused": {"acme/builder", func(b *bench) {
			b.ask(secretPath, pushed, func(r *http.Request) { r.Header.Del("Signature") })
		}, "secret extension", "was refused: header Signature is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.builder, "")
			c.change(b)
			f, found := b.inspect()[c.subject]
			if !found || (f.Problem == "") != (c.problem == "") || !strings.Contains(f.Problem, c.problem) {
				t.Errorf("%s: %+v, want the problem %q", c.subject, f, c.problem)
			}
		})
	}
}

func TestInspectWithoutABuilderRepository(t *testing.T) {
	b := newBench(t, "", "")
	found := b.inspect()
	if _, there := found["builder repository"]; there || len(found) != 4 {
		t.Errorf("found %+v", found)
	}
	if good := found["config extension"].Good; !strings.Contains(good, "WOODPECKER_CONFIG_EXTENSION_ENDPOINT") {
		t.Errorf("never asked: %q", good)
	}
}
