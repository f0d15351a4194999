package step_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipway/config/identity"
	"slipway/runner/ecr/ecrtest"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// An effect is the observable effect of a setting.
type effect struct {
	set  string   // value of the setting; {registry} is the test's registry
	with []string // other settings: NAME=value
	want string   // part of a line that the step has with the setting, and not without it
	plan bool     // the step is only planned
	own  bool     // the step starts its builder: its configuration is observed, and nothing runs
	ecr  bool     // the image is at Amazon's registry
}

// Every setting of the step has an effect that a user can see. A setting that is the same as another one has
// its effect. A setting without effect is named in the log, and a refused one in the error.
func TestEverySettingHasAnEffect(t *testing.T) {
	effects := effectsOfSettings(t)
	var names []string
	for _, s := range settings.PluginSettings() {
		name := strings.TrimPrefix(s.Name, "PLUGIN_")
		names = append(names, name)
		e, listed := effects[name]
		other := sameAs(s.Help)
		switch {
		case listed:
		case strings.HasPrefix(s.Help, "no effect: "):
			e = effect{set: "1", want: "note: PLUGIN_" + name}
		case strings.HasPrefix(s.Help, "an error: "):
			e = effect{set: "1", want: "error: PLUGIN_" + name + " is not supported"}
		case other != "":
			e = effects[other]
			e.want = strings.ReplaceAll(e.want, "PLUGIN_"+other, "PLUGIN_"+name)
		}
		t.Run(name, func(t *testing.T) {
			if e.want == "" {
				t.Fatalf("PLUGIN_%s: got no effect in this test, want one: add it to effectsOfSettings", name)
			}
			checkEffect(t, e, "PLUGIN_"+name+"="+e.set)
		})
	}
	for name := range effects {
		if !slices.Contains(names, name) {
			t.Errorf("effect of PLUGIN_%s: got one, want none, because the step has no such setting", name)
		}
	}
}

// sameAs returns the setting that another one is the same as, by its help, or "".
func sameAs(help string) string {
	rest, found := strings.CutPrefix(help, "the same as ")
	if !found {
		return ""
	}
	word, _, _ := strings.Cut(rest, ";")
	word, _, _ = strings.Cut(word, " ")
	return strings.ToUpper(strings.TrimSuffix(word, ","))
}

// checkEffect checks that a line of the step has the effect with the setting, and none without it.
func checkEffect(t *testing.T, e effect, line string) {
	t.Helper()
	with := observe(t, e, append(slices.Clone(e.with), line))
	without := observe(t, e, e.with)
	matches := strings.Contains
	if strings.HasPrefix(e.want, "build ") { // what BuildKit gets, and no error about it
		matches = strings.HasPrefix
	}
	has := func(lines []string) bool {
		return slices.ContainsFunc(lines, func(one string) bool { return matches(one, e.want) })
	}
	if !has(with) {
		t.Errorf("%s: got\n%s\nwant a line with %q", line, strings.Join(with, "\n"), e.want)
	}
	if has(without) {
		t.Errorf("without %s: got a line with %q, want none:\n%s", line, e.want, strings.Join(without, "\n"))
	}
}

// observe runs a step and returns what it did, one line each.
func observe(t *testing.T, e effect, environ []string) (lines []string) {
	t.Helper()
	o := &observation{env: newEnv(t)}
	workspace := runnertest.Workspace(t, filesOfEffects())
	amazon := ecrtest.New(t)
	image := o.env.Registry.Image()
	if e.ecr {
		image = "123456789012.dkr.ecr." + ecrtest.Region + ".amazonaws.com/acme/app"
	}
	all := append(runnertest.Pipeline("https://bitbucket.org/acme/app.git", runnertest.Main,
		"fb522a6f00000000000000000000000000000001"),
		"PLUGIN_REPO="+image,
		"CI_WORKSPACE="+workspace,
		"AWS_ENDPOINT_URL_ECR="+amazon.URL,
		"FROM_ENV=value-of-env",
	)
	if !e.own {
		all = append(all, "PLUGIN_BUILDER="+runnertest.BuilderAddress)
	}
	replacer := strings.NewReplacer("{registry}", o.env.Registry.Host(), "{bitbucket}", o.bitbucket(t))
	for _, line := range environ {
		all = append(all, replacer.Replace(line))
	}
	s, err := settings.ReadPlugin(fixed(all))
	if err != nil {
		return strings.Split("error: "+err.Error(), "\n")
	}
	if e.own {
		return append(step.BuilderSettings(t, s), s.Warnings...)
	}
	if e.ecr {
		s.Images = []string{o.env.Registry.Image()}
		s.ECR.Host = o.env.Registry.Host()
	}
	o.run(t, s, e.plan)
	lines = append(o.lines, o.requests(t)...)
	for _, call := range amazon.Calls() {
		lines = append(lines, "amazon "+call)
	}
	return append(lines, newFiles(t, workspace)...)
}

// An observation is what a step did.
type observation struct {
	env      *env
	calls    requests // to the registry
	statuses requests // to Bitbucket
	lines    []string
}

// requests is a list of requests. Servers add to it at the same time, even after the step has ended.
type requests struct {
	mu    sync.Mutex
	lines []string
}

func (r *requests) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *requests) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// run runs the step. It records its log, its error and the requests to the registry.
func (o *observation) run(t *testing.T, s settings.Plugin, plan bool) {
	t.Helper()
	o.env.Registry.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		user, _, _ := r.BasicAuth()
		o.calls.add(strings.TrimSpace(fmt.Sprintf("registry %s %s %s %s", r.Method, r.URL.Path, user, body)))
		next.ServeHTTP(w, r)
	})
	var out bytes.Buffer
	err := step.Run(t.Context(), step.Options{
		Settings: s,
		Version:  "test",
		Output:   &out,
		Environ:  []string{},
		PlanOnly: plan,
		Dial: func(ctx context.Context, address string, id identity.Identity) (publish.Builder, error) {
			o.lines = append(o.lines, "dial "+address)
			if !id.IsZero() {
				o.lines = append(o.lines, "dial with a certificate")
			}
			return o.env.Builder, o.env.Builder.Dial(ctx)
		},
		Backoff:   runnertest.NoBackoff,
		Transport: loopbackOnly{},
	})
	o.env.Registry.Intercept(nil)
	o.lines = slices.Concat(o.lines, o.calls.all(), o.statuses.all())
	o.lines = append(o.lines, strings.Split(out.String(), "\n")...)
	if err != nil {
		o.lines = append(o.lines, "error: "+err.Error())
	}
}

// bitbucket starts a Bitbucket that accepts each status, and returns its URL.
func (o *observation) bitbucket(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		user, _, _ := r.BasicAuth()
		o.statuses.add(fmt.Sprintf(
			"bitbucket %s %s %s %s %s",
			r.Method, r.URL.Path, user, r.Header.Get("Authorization"), body,
		))
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// requests returns the builds in BuildKit's terms.
func (o *observation) requests(t *testing.T) (lines []string) {
	t.Helper()
	for _, r := range o.env.Builder.Requests {
		attributes, err := r.Attributes()
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range append(attributes, "context "+r.Context, "Dockerfile "+r.Dockerfile, "certificates "+r.Certs) {
			lines = append(lines, "build "+one)
		}
	}
	return lines
}

// newFiles returns the files that the step wrote.
func newFiles(t *testing.T, workspace string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(workspace, func(path string, d os.DirEntry, err error) error {
		inside, _ := filepath.Rel(workspace, path)
		if _, old := filesOfEffects()[inside]; err != nil || d.IsDir() || old {
			return err
		}
		content, err := os.ReadFile(path)
		lines = append(lines, "file "+inside+" "+string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
