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

// Timeout bounds the time of one test.
const Timeout = 90 * time.Second

// An Env is a localenv.Env for one test: if an operation fails, it ends the test. Tests that share
// an environment have an Env each (For), with a browser tab of its own.
type Env struct {
	*localenv.Env
	Browser *localenv.Browser
	T       testing.TB
	Context context.Context // of one test; it ends after Timeout
}

// StartSignedIn starts an environment that ends with the test. Its browser shows the first
// administrator, Alice, signed in and with a linked account.
func StartSignedIn(t testing.TB, o localenv.Options) *Env {
	t.Helper()
	env := Start(t, o)
	var err error
	env.Browser, err = env.SignInAndLink(env.Context)
	env.Must(err)
	return env
}

// Start starts an environment that ends with the test. No user has signed in yet.
func Start(t testing.TB, o localenv.Options) *Env {
	t.Helper()
	env := &Env{T: t, Context: withTimeout(t)}
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

// For returns the same environment for another test, e.g. a subtest.
func (env *Env) For(t testing.TB) *Env {
	return &Env{Env: env.Env, Browser: env.Browser.Tab(), T: t, Context: withTimeout(t)}
}

// Must ends the test if err is not nil.
func (env *Env) Must(err error) {
	env.T.Helper()
	if err != nil {
		env.T.Fatal(err)
	}
}

// WaitUntil polls met until it returns true. It ends the test if met returns an error, or at the
// timeout. condition completes the sentence "wait until ...", e.g. "the build has a log".
func (env *Env) WaitUntil(condition string, met func() (bool, error)) {
	env.T.Helper()
	if err := localenv.Wait(env.Context, met); err != nil {
		env.T.Fatalf("wait until %s: %v", condition, err)
	}
}

func (env *Env) lastLog() string {
	data, err := os.ReadFile(env.Gateway.LogFile())
	if err != nil {
		return err.Error()
	}
	const limit = 8 << 10 // bytes
	return string(data[max(0, len(data)-limit):])
}

// withTimeout returns a context that ends after Timeout.
func withTimeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	t.Cleanup(cancel)
	return ctx
}

// Dockerfile returns the files of a repository: greeting.txt, and a Dockerfile that copies it to
// /greeting.txt and then has these lines.
func (env *Env) Dockerfile(greeting string, lines ...string) map[string]string {
	text := "FROM " + env.Registry + "/" + sample.BaseImage + "\nCOPY greeting.txt /greeting.txt\n"
	return map[string]string{"Dockerfile": text + strings.Join(lines, "\n") + "\n", "greeting.txt": greeting}
}

// MainRule returns the default rule of a new automated build: branch main to tag latest.
func MainRule() localenv.Rule {
	return localenv.Rule{Type: "branch", Source: "main", Tags: "latest"}
}

// VersionRule returns a rule with two image tags for each version: tag v1.2 to tags 1.2 and 1.
func VersionRule() localenv.Rule {
	return localenv.Rule{Type: "tag", Source: `/^v([0-9]+)\.([0-9]+)$/`, Tags: `{\1}.{\2},{\1}`}
}

// Automate creates a repository with these files on main, and an automated build for it. Both are
// named after the test.
func (env *Env) Automate(files map[string]string, rules ...localenv.Rule) *Project {
	env.T.Helper()
	p := env.Repository(files)
	env.Must(p.Automate(env.Context, env.Browser, rules...))
	return p
}

// Repository creates a repository with these files on main. It is named after the test.
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

// DescribeBuild returns the state and the log of a build, for an error message.
func (env *Env) DescribeBuild(b autobuild.Build) string {
	log, err := env.Browser.Log(env.Context, b, max(b.Attempt, 1), 0)
	if err != nil {
		log = err.Error()
	}
	return fmt.Sprintf("build %d is %s in attempt %d (%s: %s); its log:\n%s",
		b.Number, b.State, b.Attempt, b.Reason, b.Detail, log)
}
