package demotest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/demo/sample"
)

// Patience bounds what one test waits for.
const Patience = 90 * time.Second

// A Env is a world with an administrator signed in whose account is linked. Each test
// has its own view of it, with a browser tab.
type Env struct {
	*localenv.Env
	Browser *localenv.Browser
	T       testing.TB
	Context context.Context // of one test, like testing.T's own
}

// Open starts a world that ends with the test.
func Open(t testing.TB, o localenv.Options) *Env {
	t.Helper()
	h := Start(t, o)
	var err error
	h.Browser, err = h.SignInAndLink(h.Context)
	h.Must(err)
	return h
}

// Start starts a world that ends with the test, where nobody has signed in yet.
func Start(t testing.TB, o localenv.Options) *Env {
	t.Helper()
	h := &Env{T: t, Context: bounded(t)}
	var err error
	h.Env, err = localenv.Start(h.Context, o)
	h.Must(err)
	t.Cleanup(h.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log ends with:\n%s", h.lastLog())
		}
	})
	h.Browser, err = localenv.NewBrowser()
	h.Must(err)
	return h
}

// For is the house for a further test.
func (h *Env) For(t testing.TB) *Env {
	return &Env{Env: h.Env, Browser: h.Browser.Tab(), T: t, Context: bounded(t)}
}

// Must ends the test with an error.
func (h *Env) Must(err error) {
	h.T.Helper()
	if err != nil {
		h.T.Fatal(err)
	}
}

// Until looks until met, an error, or the end of the test's time.
func (h *Env) Until(what string, met func() (bool, error)) {
	h.T.Helper()
	if err := localenv.Wait(h.Context, met); err != nil {
		h.T.Fatalf("waited in vain until %s: %v", what, err)
	}
}

func (h *Env) lastLog() string {
	data, err := os.ReadFile(h.Gateway.LogFile())
	if err != nil {
		return err.Error()
	}
	const enough = 8 << 10
	return string(data[max(0, len(data)-enough):])
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Dockerfile is a repository's files: greeting.txt goes into the image as /greeting.txt, and
// then what the lines say is done.
func (h *Env) Dockerfile(greeting string, lines ...string) map[string]string {
	text := "FROM " + h.Registry + "/" + sample.BaseImage + "\nCOPY greeting.txt /greeting.txt\n"
	return map[string]string{"Dockerfile": text + strings.Join(lines, "\n") + "\n", "greeting.txt": greeting}
}

// MainToLatest is the rule that a new automated build starts with.
func MainToLatest() localenv.Rule {
	return localenv.Rule{Type: "branch", Source: "main", Tags: "latest"}
}

// Versions is a rule with two image tags for each version.
func Versions() localenv.Rule {
	return localenv.Rule{Type: "tag", Source: `/^v([0-9]+)\.([0-9]+)$/`, Tags: `{\1}.{\2},{\1}`}
}

// Automate makes a repository of files with an automated build, both named after the test.
func (h *Env) Automate(files map[string]string, rules ...localenv.Rule) *Project {
	h.T.Helper()
	p := h.Repository(files)
	h.Must(p.Automate(h.Context, h.Browser, rules...))
	return p
}

// Repository makes a repository of files on main, named after the test.
func (h *Env) Repository(files map[string]string) *Project {
	h.T.Helper()
	name := h.T.Name()[strings.LastIndex(h.T.Name(), "/")+1:]
	slug := strings.Map(func(c rune) rune {
		if (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	p, err := h.NewProject(h.Context, fmt.Sprintf("%.40s-%d", slug, time.Now().UnixNano()%1e6), files)
	h.Must(err)
	return &Project{Project: p, Env: h}
}

// BuildOf is the log and the fate of a build, for a test's last words.
func (h *Env) BuildOf(b autobuild.Build) string {
	log, err := h.Browser.Log(h.Context, b, max(b.Attempt, 1), 0)
	if err != nil {
		log = err.Error()
	}
	return fmt.Sprintf(
		"build %d is %s in attempt %d (%s: %s); its log:\n%s",
		b.Number,
		b.State,
		b.Attempt,
		b.Reason,
		b.Detail,
		log,
	)
}
