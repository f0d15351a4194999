package demo_test

import (
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// TestTheCredentialThatPushesReadsNoBaseImage: a Dockerfile cannot read another image of the registry
// with the credential that pushes its own. It needs a pull credential, and the error says so.
func TestTheCredentialThatPushesReadsNoBaseImage(t *testing.T) {
	demotest.NeedMachine(t)
	h := demotest.Open(
		t,
		localenv.Options{
			RegistryPassword: secret.New("registry-51fb0a3e"),
			Environment:      []string{"SLIPWAY_BUILDER_NETWORK=none"},
		},
	)
	h.Must(h.AddRegistry(h.Context, h.Browser))
	private := h.Registry + "/other/private:1"
	h.Must(h.SeedImage(h.Context, private))
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	p.Commit(
		"Of another's image",
		map[string]string{"Dockerfile": "FROM " + private + "\nCOPY greeting.txt /\n", "greeting.txt": "taken"},
	)
	p.Push("main")
	failed := p.End(1, autobuild.Failed)
	if want := "add a pull credential for " + h.Registry; !strings.Contains(failed.Detail, want) {
		t.Errorf("got detail %q, want %q in it", failed.Detail, want)
	}

	h.Must(h.AddPullCredential(h.Context, h.Browser))
	h.Must(h.Browser.Press(h.Context, failed, localenv.Retry))
	p.Holds("latest", p.Await(1, autobuild.Succeeded), "taken")
}
