package runner_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"

	"slipway/config/identity"
	"slipway/runner"
	"slipway/runner/ecr/ecrtest"
	"slipway/runner/settings"
)

// atECR runs the step as one whose image is at Amazon's registry, which the world's stands for.
func (w *world) atECR(amazon *ecrtest.Server, environ ...string) (log string, err error) {
	w.t.Helper()
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=123456789012.dkr.ecr." + ecrtest.Region + ".amazonaws.com/acme/app",
		"PLUGIN_BUILDER=unix:///of-the-world.sock",
		"PLUGIN_AWS_ACCESS_KEY_ID=" + ecrtest.KeyID,
		"PLUGIN_AWS_SECRET_ACCESS_KEY=" + ecrtest.Secret,
		"AWS_ENDPOINT_URL_ECR=" + amazon.URL,
		"CI_WORKSPACE=" + workspace(
			w.t,
			map[string]string{
				"Dockerfile":        "FROM scratch\n",
				"ci/lifecycle.json": `{"rules":[]}`,
				"ci/policy.json":    `{"Version":"2012-10-17"}`,
			},
		),
	}, environ...)))
	if err != nil {
		w.t.Fatal(err)
	}
	s.Images = []string{w.image()}
	s.ECR.Host, _, _ = strings.Cut(w.image(), "/")
	var out bytes.Buffer
	err = runner.RunStandalone(w.t.Context(), runner.StandaloneOptions{
		Settings: s, Version: "test", Output: &out,
		Dial:    func(context.Context, string, identity.Identity) (runner.Builder, error) { return w.builder, nil },
		Backoff: func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) },
	})
	return out.String(), err
}

func TestAStepLogsInAtAmazonsRegistryWithAKey(t *testing.T) {
	w, amazon := newWorld(t), ecrtest.New(t)
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/manifests/1.2") { // what the world's builder sends is anonymous
			asks(ecrtest.Username, ecrtest.Token)(rw, r, next)
			return
		}
		next.ServeHTTP(rw, r)
	})
	log, err := w.atECR(
		amazon,
		"PLUGIN_TAGS=1.2",
		"PLUGIN_ECR_CREATE_REPOSITORY=true",
		"PLUGIN_ECR_LIFECYCLE_POLICY=ci/lifecycle.json",
		"PLUGIN_ECR_REPOSITORY_POLICY=./ci/policy.json",
		"PLUGIN_ECR_SCAN_ON_PUSH=true",
	)
	if strings.Contains(log, "canary") {
		t.Errorf("the log shows a secret:\n%s", log)
	}
	w.registry.set(nil)
	if err != nil || w.tag("1.2") == "" {
		t.Fatalf("1.2 is at %q, %v\n%s", w.tag("1.2"), err, log)
	}
	login := w.builder.requests[0].Registries[0]
	if login.Username != ecrtest.Username || login.Password.Reveal() != ecrtest.Token {
		t.Errorf("the builder was given the login of %q", login.Username)
	}
	want := &ecrtest.Repository{Scan: true, Lifecycle: `{"rules":[]}`, Policy: `{"Version":"2012-10-17"}`}
	if diff := cmp.Diff(want, amazon.Repository("acme/app")); diff != "" {
		t.Errorf("the repository (-want +got):\n%s", diff)
	}
	if !strings.Contains(log, "repository acme/app: made, scan on push: true, lifecycle policy, access policy") {
		t.Errorf("the log does not say what was made:\n%s", log)
	}
}

// Amazon's registry makes no repository by a push.
func TestARepositoryThatIsNotThereIsToldAndEndsTheBuild(t *testing.T) {
	w, amazon := newWorld(t), ecrtest.New(t)
	w.builder.inside = untilStopped
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		next.ServeHTTP(rw, r)
	})
	if log, err := w.atECR(
		amazon,
	); err == nil ||
		!strings.Contains(
			err.Error(),
			"has no repository acme/app: make it, or set PLUGIN_ECR_CREATE_REPOSITORY to true",
		) {
		t.Errorf("got %v\n%s", err, log)
	}
}

// The password that Amazon gave is masked as one that a setting has.
func TestThePasswordOfAmazonsIsMasked(t *testing.T) {
	w, amazon := newWorld(t), ecrtest.New(t)
	w.builder.inside = func(context.Context) error {
		_, err := io.WriteString(w.builder.requests[0].Progress, "#2 "+ecrtest.Token+"\n")
		return err
	}
	if log, err := w.atECR(
		amazon,
	); err != nil || strings.Contains(log, ecrtest.Token) ||
		!strings.Contains(log, "#2 ***") {
		t.Errorf("%v\n%s", err, log)
	}
}

// A dry run may need the login for a private base image, and changes nothing.
func TestADryRunLogsInAtAmazonsRegistryAndMakesNothing(t *testing.T) {
	w, amazon := newWorld(t), ecrtest.New(t)
	log, err := w.atECR(
		amazon,
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_ECR_CREATE_REPOSITORY=true",
		"PLUGIN_ECR_LIFECYCLE_POLICY=ci/lifecycle.json",
	)
	if want := "would settle the repository acme/app: make it if it is not there, lifecycle policy ci/lifecycle.json\n"; !strings.Contains(
		log,
		want,
	) {
		t.Errorf("the log does not say %q", want)
	}
	if err != nil || amazon.Repository("acme/app") != nil {
		t.Errorf("%v, made %v\n%s", err, amazon.Repository("acme/app"), log)
	}
	if diff := cmp.Diff([]string{"GetAuthorizationToken"}, amazon.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestFaultsAtAmazonsRegistryNameTheSetting(t *testing.T) {
	w := newWorld(t)
	for want, c := range map[string]struct {
		deny    string
		environ string
	}{
		"PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY: ecr:GetAuthorizationToken: the access key is not known": {"", "PLUGIN_AWS_SECRET_ACCESS_KEY=other-canary"},
		"PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY: ecr:CreateRepository: the access key may not do that":   {"CreateRepository", "PLUGIN_ECR_CREATE_REPOSITORY=true"},
		"Amazon's registry: ecr:PutImageScanningConfiguration: RepositoryNotFoundException":                                 {"", "PLUGIN_ECR_SCAN_ON_PUSH=true"},
		`PLUGIN_ECR_LIFECYCLE_POLICY: the file "gone.json" does not exist`:                                                  {"", "PLUGIN_ECR_LIFECYCLE_POLICY=gone.json"},
		`PLUGIN_ECR_REPOSITORY_POLICY: the file "../x" is not a path within`:                                                {"", "PLUGIN_ECR_REPOSITORY_POLICY=../x"},
	} {
		amazon := ecrtest.New(t)
		amazon.Deny = c.deny
		log, err := w.atECR(amazon, c.environ)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(log+err.Error(), "canary") {
			t.Errorf("%s: got %v, want %q\n%s", c.environ, err, want, log)
		}
	}
	if len(w.builder.requests) != 0 {
		t.Error("a build was started whose image could not be pushed")
	}
}

func TestAFaultOfAKeyInLoginsNamesItsEntry(t *testing.T) {
	entry := `{"registry":"123456789012.dkr.ecr.` + ecrtest.Region + `.amazonaws.com","aws_access_key_id":"AKIAOTHER","aws_secret_access_key":"other-canary"}`
	log, err := newWorld(
		t,
	).atECR(ecrtest.New(t), "PLUGIN_AWS_ACCESS_KEY_ID=", "PLUGIN_AWS_SECRET_ACCESS_KEY=", "PLUGIN_LOGINS=["+entry+"]")
	if err == nil || !strings.HasPrefix(err.Error(), "PLUGIN_LOGINS (entry 1): ecr:GetAuthorizationToken") ||
		strings.Contains(log+err.Error(), "canary") {
		t.Errorf("got %v\n%s", err, log)
	}
}
