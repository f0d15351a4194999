package demo_test

import (
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// A Dockerfile cannot use the push credential to read another image in the registry. The error
// message asks for a pull credential.
func TestThePushCredentialReadsNoBaseImage(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{
		RegistryPassword: secret.New("registry-51fb0a3e"),
		Environment:      []string{"SLIPWAY_BUILDER_NETWORK=none"},
	})
	env.Must(env.AddRegistry(env.Context, env.Browser))
	private := env.Registry + "/other/private:1"
	env.Must(env.SeedImage(env.Context, private))
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Use another image", map[string]string{
		"Dockerfile":   "FROM " + private + "\nCOPY greeting.txt /\n",
		"greeting.txt": "taken",
	})
	p.Push("main")
	failed := p.WaitEnd(1, autobuild.Failed)
	if want := "add a pull credential for " + env.Registry; !strings.Contains(failed.Detail, want) {
		t.Errorf("detail: got %q, want it to contain %q", failed.Detail, want)
	}

	env.Must(env.AddPullCredential(env.Context, env.Browser))
	env.Must(env.Browser.Press(env.Context, failed, localenv.Retry))
	p.CheckImage("latest", p.WaitNewest(1, autobuild.Succeeded), "taken")
}
