package step_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"slipway/config/identity"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// A use is a use of a registry by a step.
type use string

const (
	basePull   use = "pull of a base image"
	push       use = "push"
	cacheWrite use = "cache" // a cache that cannot be read fails no build
	login      use = "login" // of a registry that no image is pushed to
)

// Names of the settings in messages.
const (
	ofBase  = "the image's name in the Dockerfile"
	ofPush  = "PLUGIN_REPO"
	ofCache = "PLUGIN_CACHE_TO"
	ofLogin = "PLUGIN_LOGINS (entry 1)"
)

// A cell is one failure of a registry in one use.
type cell struct {
	wants  []string // texts of the message besides the registry's own words: the setting and the fix
	absent string   // why the failure does not happen in this use
}

func wants(texts ...string) cell { return cell{wants: texts} }

// A failure is a way in which a registry does not do what the step wants. It has a host or an err.
type failure struct {
	words string // the registry's own words, or those of the network
	host  func(t *testing.T, u use) string
	err   error // of the connection; the step and the builder get it without a network
	cells map[use]cell
}

// The failures and uses for which a message names the fix.
func failureNames() []string {
	return []string{
		"401",
		"403",
		"404",
		"413",
		"429",
		"5xx",
		"TLS",
		"DNS",
		"refused",
		"time-out",
		"no route",
		"reset",
		"OCI refused",
	}
}

func allUses() []use { return []use{basePull, push, cacheWrite, login} }

// For each failure of a registry, and each use of it, the last line has the registry's own words, the setting,
// and the fix. A failure without a message, and without the reason why it does not happen, fails this test.
func TestEveryFailureOfARegistryNamesTheFix(t *testing.T) {
	certs := t.TempDir()
	all := failuresOfRegistries(t, certs)
	builder := realBuilder(t, "SLIPWAY_BUILDER_CERTS="+certs)
	for _, name := range failureNames() {
		f, listed := all[name]
		if !listed {
			t.Errorf("%s: got no failure in this test, want one: add it to failuresOfRegistries", name)
			continue
		}
		delete(all, name)
		for _, u := range allUses() {
			c := f.cells[u]
			if (len(c.wants) == 0) == (c.absent == "") {
				t.Errorf("%s, %s: got %+v, want either texts or a reason: correct failuresOfRegistries", name, u, c)
			}
			if len(c.wants) == 0 {
				continue
			}
			t.Run(name+", "+string(u), func(t *testing.T) {
				if named := strings.Join(
					c.wants,
					" ",
				); !strings.Contains(named, "PLUGIN_") &&
					!strings.Contains(named, ofBase) {
					t.Errorf("texts: got %q, want a setting in one of them", c.wants)
				}
				f.check(t, builder, u)
			})
		}
	}
	for name := range all {
		t.Errorf("failure %s: got it in failuresOfRegistries only, want it in failureNames, too", name)
	}
}

// check runs a step that meets the failure, and checks the message.
func (f failure) check(t *testing.T, builder string, u use) {
	t.Helper()
	host := "registry.example"
	run := func(environ []string) (last, log string) { return f.runWithout(t, u, host, environ) }
	if f.err == nil {
		host = f.host(t, u)
		run = func(environ []string) (last, log string) { return failingStep(t, builder, environ...) }
	}
	last, log := run(map[use][]string{
		basePull:   {"FROM " + host + "/acme/base:1\n"},
		push:       {plainDockerfile, "PLUGIN_REPO=" + host + "/acme/app"},
		cacheWrite: {plainDockerfile, "PLUGIN_CACHE_TO=type=registry,ref=" + host + "/acme/cache:1,mode=max"},
		login:      {plainDockerfile, logins([3]string{host, "ci", "pw"})},
	}[u])
	if u == login && last == "" { // the build may not need the login
		for line := range strings.Lines(log) {
			if strings.Contains(line, "was not checked") {
				last = line
			}
		}
	}
	checkLine(t, last, log, f.words, host)
	for _, want := range f.cells[u].wants {
		checkLine(t, last, log, strings.ReplaceAll(want, "{host}", host))
	}
}

// failingStep runs a step on a real builder, with a Dockerfile and settings. It returns the last line that the
// program prints, and the log.
func failingStep(t *testing.T, builder string, environ ...string) (last, log string) {
	t.Helper()
	s := settingsOf(t, environ[0], append([]string{"PLUGIN_BUILDER=" + builder}, environ[1:]...))
	var out bytes.Buffer
	err := step.Run(t.Context(), step.Options{Settings: s, Output: &out, Backoff: runnertest.NoBackoff})
	return lastLine(err), out.String()
}

// runWithout is failingStep without a network and without a real builder.
func (f failure) runWithout(t *testing.T, u use, host string, environ []string) (last, log string) {
	t.Helper()
	s := settingsOf(t, environ[0], append([]string{"PLUGIN_BUILDER=" + runnertest.BuilderAddress}, environ[1:]...))
	builder := runnertest.NewBuilder(t)
	switch u { // the texts of BuildKit 0.33
	case basePull:
		builder.BuildError = fmt.Errorf("build: failed to resolve source metadata for %s/acme/base:1: "+
			"failed to do request: Head \"https://%s/v2/acme/base/manifests/1\": %w", host, host, f.err)
	case cacheWrite:
		builder.BuildError = fmt.Errorf("build: error writing layer blob: failed to do request: "+
			"Head \"https://%s/v2/acme/cache/blobs/sha256:00\": %w", host, f.err)
	}
	var out bytes.Buffer
	err := step.Run(t.Context(), step.Options{
		Settings: s, Output: &out, Backoff: runnertest.NoBackoff, Transport: broken{host, f.err},
		Dial: func(context.Context, string, identity.Identity) (publish.Builder, error) { return builder, nil },
	})
	return lastLine(err), out.String()
}

func settingsOf(t *testing.T, dockerfile string, environ []string) settings.Plugin {
	t.Helper()
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=" + runnertest.NewRegistry(t).Image(), "PLUGIN_TAGS=1",
		"CI_WORKSPACE=" + runnertest.Workspace(t, map[string]string{"Dockerfile": dockerfile, "a": "a"}),
	}, environ...)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lastLine(err error) string {
	if err == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return lines[len(lines)-1]
}

// checkLine checks that a line has all texts.
func checkLine(t *testing.T, last, log string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(last, want) {
			t.Errorf("last line: got %q, want %q in it\nlog:\n%s", last, want, log)
			return
		}
	}
}

// broken is a network in which the connections to one host fail.
type broken struct {
	host string
	err  error
}

// RoundTrip implements http.RoundTripper.
func (b broken) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == b.host {
		return nil, b.err
	}
	return loopbackOnly{}.RoundTrip(r)
}

// timedOut is the error of a connection to a silent host. A real one takes half a minute.
func timedOut() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
}

const plainDockerfile = "FROM scratch\nCOPY a /a\n"

// More failures of a push, and the fix that they name.
func TestARefusedPushNamesTheFix(t *testing.T) {
	builder := realBuilder(t)
	t.Run("a login", func(t *testing.T) {
		for _, f := range []refusal{denied401(), denied403()} {
			last, log := failingStep(t, builder, plainDockerfile, "PLUGIN_REPO="+f.serve(t, writes)+"/acme/app",
				"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=pw")
			checkLine(
				t,
				last,
				log,
				f.words,
				"the login of PLUGIN_USERNAME and PLUGIN_PASSWORD is wrong or may not push there",
			)
		}
	})
	t.Run("Docker's manifests", func(t *testing.T) {
		f := refuse(400, "MANIFEST_INVALID", "manifest invalid")
		for _, environ := range [][]string{
			{"PLUGIN_REPO=" + f.serve(t, putsOCI) + "/acme/app", "PLUGIN_AUTO_LABEL=false"},
			{"PLUGIN_CACHE_TO=type=registry,ref=" + f.serve(t, putsOCI) + "/acme/cache:1,oci-mediatypes=false"},
		} {
			last, log := failingStep(t, builder, append([]string{plainDockerfile}, environ...)...)
			if last != "" {
				t.Errorf("%s: got error %q, want none\n%s", environ, last, log)
			}
		}
	})
	t.Run("a tag that cannot change", func(t *testing.T) {
		f := refuse(400, "TAG_INVALID", "The image tag '1' already exists, and the repository is immutable.")
		host := f.serve(t, func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1")
		})
		last, log := failingStep(t, builder, plainDockerfile, "PLUGIN_REPO="+host+"/acme/app")
		checkLine(t, last, log, f.words, "push another tag")
	})
}

// A cache with Docker's types is refused for another reason than its types.
func TestTheFixOfARefusedCacheFollowsItsAttributes(t *testing.T) {
	for attrs, want := range map[string]string{
		"":                      "may not know manifests of OCI: for those of Docker, set oci-mediatypes=false in PLUGIN_CACHE_TO",
		",image-manifest=true":  "set oci-mediatypes=false and image-manifest=false in PLUGIN_CACHE_TO",
		",oci-mediatypes=false": "does not accept the manifest",
		",image-manifest=false": "set oci-mediatypes=false in PLUGIN_CACHE_TO",
		",oci-mediatypes=true":  "set oci-mediatypes=false in PLUGIN_CACHE_TO",
	} {
		e := newEnv(t)
		e.Builder.BuildError = errors.New("build: error writing manifest blob: unexpected status from PUT request to " +
			"https://r.example.com/v2/acme/cache/manifests/1: 400 Bad Request")
		_, err := e.run("PLUGIN_CACHE_TO=type=registry,ref=r.example.com/acme/cache:1" + attrs)
		checkLine(t, lastLine(err), "", want)
	}
}
