package step_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/ecr/ecrtest"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
)

// atECR runs the step as one whose image is at Amazon's registry, which the env's stands for.
func (e *env) atECR(amazon *ecrtest.Server, environ ...string) (log string, err error) {
	e.t.Helper()
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=123456789012.dkr.ecr." + ecrtest.Region + ".amazonaws.com/acme/app",
		"PLUGIN_BUILDER=unix:///run/test/builder.sock",
		"PLUGIN_AWS_ACCESS_KEY_ID=" + ecrtest.KeyID,
		"PLUGIN_AWS_SECRET_ACCESS_KEY=" + ecrtest.Secret,
		"AWS_ENDPOINT_URL_ECR=" + amazon.URL,
		"CI_WORKSPACE=" + runnertest.Workspace(
			e.t,
			map[string]string{
				"Dockerfile":        "FROM scratch\n",
				"ci/lifecycle.json": `{"rules":[]}`,
				"ci/policy.json":    `{"Version":"2012-10-17"}`,
			},
		),
	}, environ...)))
	if err != nil {
		e.t.Fatal(err)
	}
	s.Images = []string{e.Registry.Image()}
	s.ECR.Host, _, _ = strings.Cut(e.Registry.Image(), "/")
	return e.runWith(e.t.Context(), s)
}

func TestAStepLogsInAtAmazonsRegistryWithAKey(t *testing.T) {
	e, amazon := newEnv(t), ecrtest.New(t)
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/manifests/1.2") { // the env's builder pushes anonymously
			runnertest.RequireLogin(ecrtest.Username, ecrtest.Token)(rw, r, next)
			return
		}
		next.ServeHTTP(rw, r)
	})
	log, err := e.atECR(
		amazon,
		"PLUGIN_TAGS=1.2",
		"PLUGIN_ECR_CREATE_REPOSITORY=true",
		"PLUGIN_ECR_LIFECYCLE_POLICY=ci/lifecycle.json",
		"PLUGIN_ECR_REPOSITORY_POLICY=./ci/policy.json",
		"PLUGIN_ECR_SCAN_ON_PUSH=true",
	)
	if strings.Contains(log, "canary") {
		t.Errorf("log: got:\n%s\nwant no secret in it", log)
	}
	e.Registry.Intercept(nil)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if e.Registry.Tag("1.2") == "" {
		t.Error("tag 1.2: got no image, want one")
	}
	login := e.Builder.Requests[0].Registries[0]
	if login.Username != ecrtest.Username {
		t.Errorf("user of the login: got %v, want %v", login.Username, ecrtest.Username)
	}
	if got := login.Password.Reveal(); got != ecrtest.Token {
		t.Errorf("password of the login: got %v, want %v", got, ecrtest.Token)
	}
	want := &ecrtest.Repository{Scan: true, Lifecycle: `{"rules":[]}`, Policy: `{"Version":"2012-10-17"}`}
	if diff := cmp.Diff(want, amazon.Repository("acme/app")); diff != "" {
		t.Errorf("the repository (-want +got):\n%s", diff)
	}
	if !strings.Contains(log, "repository acme/app: made, scan on push: true, lifecycle policy, access policy") {
		t.Errorf("log: got:\n%s\nwant the created repository in it", log)
	}
}

// Amazon's registry makes no repository by a push.
func TestAMissingRepositoryEndsTheBuildWithItsName(t *testing.T) {
	e, amazon := newEnv(t), ecrtest.New(t)
	e.Builder.OnBuild = untilStopped
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		next.ServeHTTP(rw, r)
	})
	log, err := e.atECR(amazon)
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", log)
	}
	runnertest.CheckHas(
		t,
		"the error",
		err.Error(),
		"has no repository acme/app: create it, or set PLUGIN_ECR_CREATE_REPOSITORY to true",
	)
}

// The password that Amazon gave is masked as one that a setting has.
func TestThePasswordOfAmazonsIsMasked(t *testing.T) {
	e, amazon := newEnv(t), ecrtest.New(t)
	e.Builder.OnBuild = func(context.Context) error {
		_, err := io.WriteString(e.Builder.Requests[0].Progress, "#2 "+ecrtest.Token+"\n")
		return err
	}
	log, err := e.atECR(amazon)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckLacks(t, "the log", log, ecrtest.Token)
	runnertest.CheckHas(t, "the log", log, "#2 ***")
}

// A dry run may need the login for a private base image, and changes nothing.
func TestADryRunLogsInAtAmazonsRegistryAndMakesNothing(t *testing.T) {
	e, amazon := newEnv(t), ecrtest.New(t)
	log, err := e.atECR(
		amazon,
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_ECR_CREATE_REPOSITORY=true",
		"PLUGIN_ECR_LIFECYCLE_POLICY=ci/lifecycle.json",
	)
	if want := "would configure the repository acme/app: create it if it does not exist, lifecycle policy ci/lifecycle.json\n"; !strings.Contains(
		log,
		want,
	) {
		t.Errorf("log: got:\n%s\nwant %q in it", log, want)
	}
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if got := amazon.Repository("acme/app"); got != nil {
		t.Errorf("repository acme/app at Amazon: got %v, want none", got)
	}
	if diff := cmp.Diff([]string{"GetAuthorizationToken"}, amazon.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestFaultsAtAmazonsRegistryNameTheSetting(t *testing.T) {
	e := newEnv(t)
	for want, c := range map[string]struct {
		deny    string
		environ string
	}{
		"PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY: ecr:GetAuthorizationToken: the access key is unknown at Amazon":    {"", "PLUGIN_AWS_SECRET_ACCESS_KEY=other-canary"},
		"PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY: ecr:CreateRepository: the access key does not have the permission": {"CreateRepository", "PLUGIN_ECR_CREATE_REPOSITORY=true"},
		"Amazon's registry: ecr:PutImageScanningConfiguration: RepositoryNotFoundException":                                            {"", "PLUGIN_ECR_SCAN_ON_PUSH=true"},
		`PLUGIN_ECR_LIFECYCLE_POLICY: the file "gone.json" does not exist`:                                                             {"", "PLUGIN_ECR_LIFECYCLE_POLICY=gone.json"},
		`PLUGIN_ECR_REPOSITORY_POLICY: the file "../x" is not a path within`:                                                           {"", "PLUGIN_ECR_REPOSITORY_POLICY=../x"},
	} {
		amazon := ecrtest.New(t)
		amazon.Deny = c.deny
		log, err := e.atECR(amazon, c.environ)
		if err == nil {
			t.Errorf("step: got no error, want one\n%s", log)
			continue
		}
		runnertest.CheckHas(t, "the error", err.Error(), want)
		runnertest.CheckLacks(t, "the log and the error", log+err.Error(), "canary")
	}
	if len(e.Builder.Requests) != 0 {
		t.Errorf("builds of an image that cannot be pushed: got %d, want 0", len(e.Builder.Requests))
	}
}

func TestAFaultOfAKeyInLoginsNamesItsEntry(t *testing.T) {
	entry := `{"registry":"123456789012.dkr.ecr.` + ecrtest.Region + `.amazonaws.com","aws_access_key_id":"AKIAOTHER","aws_secret_access_key":"other-canary"}`
	log, err := newEnv(
		t,
	).atECR(ecrtest.New(t), "PLUGIN_AWS_ACCESS_KEY_ID=", "PLUGIN_AWS_SECRET_ACCESS_KEY=", "PLUGIN_LOGINS=["+entry+"]")
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", log)
	}
	if !strings.HasPrefix(err.Error(), "PLUGIN_LOGINS (entry 1): ecr:GetAuthorizationToken") {
		t.Errorf("step: got error %q, want the prefix %q", err, "PLUGIN_LOGINS (entry 1): ecr:GetAuthorizationToken")
	}
	runnertest.CheckLacks(t, "the log and the error", log+err.Error(), "canary")
}
