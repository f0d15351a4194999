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

// Timeout bounds what one test waits for.
const Timeout = 90 * time.Second

// A Env is a world with an administrator signed in whose account is linked. Each test
// has its own view of it, with a browser tab.
type Env struct {
	*localenv.Env
	Browser *localenv.Browser
	T       testing.TB
	Context context.Context // of one test, like testing.T's own
}

// StartSignedIn starts a world that ends with the test.
func StartSignedIn(t testing.TB, o localenv.Options) *Env {
	t.Helper()
	env := Start(t, o)
	var err error
	env.Browser, err = env.SignInAndLink(env.Context)
	env.Must(err)
	return env
}

// Start starts a world that ends with the test, where nobody has signed in yet.
func Start(t testing.TB, o localenv.Options) *Env {
	t.Helper()
	env := &Env{T: t, Context: bounded(t)}
	var err error
	env.Env, err = localenv.Start(env.Context, o)
	env.Must(err)
	t.Cleanup(env.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log ends with:\n%s", env.lastLog())
		}
	})
	env.Browser, err = localenv.NewBrowser()
	env.Must(err)
	return env
}

// For is the house for a further test.
func (env *Env) For(t testing.TB) *Env {
	return &Env{Env: env.Env, Browser: env.Browser.Tab(), T: t, Context: bounded(t)}
}

// Must ends the test with an error.
func (env *Env) Must(err error) {
	env.T.Helper()
	if err != nil {
		env.T.Fatal(err)
	}
}

// Until looks until met, an error, or the end of the test's time.
func (env *Env) WaitUntil(what string, met func() (bool, error)) {
	env.T.Helper()
	if err := localenv.Wait(env.Context, met); err != nil {
		env.T.Fatalf("waited in vain until %s: %v", what, err)
	}
}

func (env *Env) lastLog() string {
	data, err := os.ReadFile(env.Gateway.LogFile())
	if err != nil {
		return err.Error()
	}
	const enough = 8 << 10
	return string(data[max(0, len(data)-enough):])
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	t.Cleanup(cancel)
	return ctx
}

// Dockerfile is a repository's files: greeting.txt goes into the image as /greeting.txt, and
// then what the lines say is done.
func (env *Env) Dockerfile(greeting string, lines ...string) map[string]string {
	text := "FROM " + env.Registry + "/" + sample.BaseImage + "\nCOPY greeting.txt /greeting.txt\n"
	return map[string]string{"Dockerfile": text + strings.Join(lines, "\n") + "\n", "greeting.txt": greeting}
}

// MainRule is the rule that a new automated build starts with.
func MainRule() localenv.Rule {
	return localenv.Rule{Type: "branch", Source: "main", Tags: "latest"}
}

// VersionRule is a rule with two image tags for each version.
func VersionRule() localenv.Rule {
	return localenv.Rule{Type: "tag", Source: `/^v([0-9]+)\.([0-9]+)$/`, Tags: `{\1}.{\2},{\1}`}
}

// Automate makes a repository of files with an automated build, both named after the test.
func (env *Env) Automate(files map[string]string, rules ...localenv.Rule) *Project {
	env.T.Helper()
	p := env.Repository(files)
	env.Must(p.Automate(env.Context, env.Browser, rules...))
	return p
}

// Repository makes a repository of files on main, named after the test.
func (env *Env) Repository(files map[string]string) *Project {
	env.T.Helper()
	name := env.T.Name()[strings.LastIndex(env.T.Name(), "/")+1:]
	slug := strings.Map(func(c rune) rune {
		if (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	p, err := env.NewProject(env.Context, fmt.Sprintf("%.40s-%d", slug, time.Now().UnixNano()%1e6), files)
	env.Must(err)
	return &Project{Project: p, Env: env}
}

// BuildOf is the log and the fate of a build, for a test's last words.
func (env *Env) DescribeBuild(b autobuild.Build) string {
	log, err := env.Browser.Log(env.Context, b, max(b.Attempt, 1), 0)
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
