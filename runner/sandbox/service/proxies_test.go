package service_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"slipway/config/buildservice"
	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/runner/attempt"
	"slipway/runner/runnertest"
	"slipway/runner/sandbox/sandboxtest"
	"slipway/runner/sandbox/service"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// runAttempt is `slipway runner` under a service.
func runAttempt() error {
	given, err := settings.Read(settings.OS{})
	if err != nil {
		return err
	}
	control, err := buildservice.OpenControl(os.Getenv)
	if err != nil {
		return err
	}
	return attempt.Run(context.Background(), attempt.Options{Settings: given, Control: control, Version: "test"})
}

// pushScript fetches the history with a plain git, and pushes the image of a file with skopeo. $OTHER is
// another image of the registry.
const pushScript = `#!/bin/bash
cd ..
echo "home $(test -w "$HOME" && echo writable)"
git fetch --quiet --unshallow && echo "commits $(git rev-list --count HEAD)"
curl --silent --output /dev/null --write-out 'curl %{http_code}\n' "$(git remote get-url origin)/info/refs?service=git-upload-pack"
copy() { skopeo --insecure-policy copy --quiet docker-archive:svc/image.tar "docker://$1" 2>&1; }
copy "$IMAGE_NAME" && echo "pushed"
copy "$DOCKER_REPO:extra" && echo "pushed extra"
copy "${DOCKER_REPO%/app}/other:1" || echo "other refused"
grep -c gateway-password "$DOCKER_CONFIG/config.json"
true
`

// Hooks fetch the history and push the image without a credential of the installation, and push no other
// image. SLIPWAY_PUSH_HOOKS is off.
func TestHooksFetchAndPushThroughTheProxies(t *testing.T) {
	needRoot(t)
	for _, tool := range []string{"runc", "iptables", "skopeo", "git", "curl"} {
		sandboxtest.Need(t, tool, tool)
	}
	gateway := runnertest.New(t)
	gateway.Edit = func(s *spec.Spec) {
		s.Source.URL = "https://bitbucket.org/acme/app.git"
		s.Registries = []spec.RegistryCredential{{
			Host: gateway.Registry.Host(), Insecure: true,
			Credential: spec.Credential{Username: "robot", Password: secret.New("gateway-password")},
		}}
	}
	gateway.Registry.Intercept(runnertest.RequireLogin("robot", "gateway-password"))
	gateway.Push(map[string]string{"README": "one"})
	build := gateway.Push(map[string]string{"svc/image.tar": archive(t), runnertest.Hook("build"): pushScript})
	e := newEnv(t, "", func(o *service.Options) {
		o.Program = "/proc/self/exe"
		o.FirstUID, o.GID = 64001, 64000 // as the second of two attempts
		o.DiskBytes = 256 << 20
		sandboxes := service.NewHostSandboxes(t.Context(), service.SandboxOptions{
			Dir: filepath.Join(o.Dir, "sandboxes"), Log: discard.Logger(),
		})
		t.Cleanup(sandboxes.Close)
		o.Sandboxes = sandboxes
	})
	r := run(build.ID + "-1")
	r.URL, r.Token = gateway.Gateway.BuildURL(build.ID), secret.New(gateway.Gateway.Start(build))
	a, err := e.client.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if ended := a.Wait(); ended.Error != "" {
		t.Errorf("runner: got error %q with output %q, want none", ended.Error, ended.Output)
	}
	last := gateway.Gateway.Last(build)
	for _, want := range []string{
		"home writable\n", "commits 2\n", "curl 200\n", "pushed\n", "pushed extra\n", "other refused\n", "\n0\n",
	} {
		if !strings.Contains(last.Log, want) {
			t.Errorf("log: got %s, want %q in it", last.Log, want)
		}
	}
	gateway.Registry.Intercept(nil)
	for _, tag := range append(runnertest.Tags(), "extra") {
		if gateway.Registry.Tag(tag) == "" {
			t.Errorf("tag %s: got none, want one", tag)
		}
	}
	if got := runnertest.Digest(t, gateway.Registry.Host()+"/acme/other:1"); got != "" {
		t.Errorf("tag of another image: got %s, want none", got)
	}
	if len(last.Result.ExtraTags) != 1 || last.Result.ExtraTags[0].Tag != "extra" {
		t.Errorf("extra tags: got %v, want extra", last.Result.ExtraTags)
	}
}

// archive returns an image as docker save writes it.
func archive(t *testing.T) string {
	t.Helper()
	image, err := random.Image(4096, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("acme/app:1")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tarball.Write(tag, image, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
