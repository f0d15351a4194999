package dispatcher_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/runner/spec"
)

// storeCredentials stores one credential of each kind; its user name says which.
func storeCredentials(t *testing.T, y *env) {
	t.Helper()
	other := y.automate("registry.example.com/acme/other", "embedded")
	for user, r := range map[string]autobuild.Registry{
		"whole":       {Host: "registry.example.com"},
		"path":        {Host: "registry.example.com/acme"},
		"bound":       {Host: "registry.example.com", AutomatedBuildID: y.owner.ID},
		"other's":     {Host: "registry.example.com", AutomatedBuildID: other.ID},
		"reader":      {Host: "docker.io", Purpose: autobuild.RegistryPull},
		"own reader":  {Host: "ghcr.io", Purpose: autobuild.RegistryPull, AutomatedBuildID: y.owner.ID},
		"its reader":  {Host: "quay.io", Purpose: autobuild.RegistryPull, AutomatedBuildID: other.ID},
		"other place": {Host: "registry.example.com/acme-other"},
	} {
		r.Username, r.Password = user, secret.New("password of "+user)
		_, err := y.store.SaveRegistry(t.Context(), r)
		must(t, err)
	}
}

// specOn returns the spec of a build on an engine, as it goes over the wire.
func specOn(t *testing.T, y *env, engine string) (s spec.Spec, users []string) {
	t.Helper()
	b := y.build(y.owner)
	a, err := y.store.StartAttempt(t.Context(), b.ID, engine, "h", y.now.Add(time.Hour), 0)
	must(t, err)
	s, err = y.Spec(t.Context(), a)
	must(t, err)
	var wire bytes.Buffer
	must(t, spec.EncodeSpec(&wire, s))
	s, err = spec.DecodeSpec(&wire)
	must(t, err)
	for _, r := range s.Registries {
		user := r.Username
		if r.PullOnly {
			user += " (pull only)"
		}
		users = append(users, user)
	}
	slices.Sort(users)
	return s, users
}

func TestABuildGetsItsOwnPushCredentialAndPullOnlyOnes(t *testing.T) {
	y := newEnv(t, 2)
	storeCredentials(t, y)
	s, users := specOn(t, y, "embedded")
	if diff := cmp.Diff([]string{"bound", "own reader (pull only)", "reader (pull only)"}, users); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if s.BuilderTLS.IsZero() {
		t.Error("no certificate for the builder")
	}
	if s.PushHooks {
		t.Error("hooks may push without the setting")
	}
}

// A runner that the people of the repository control gets what is bound to their automated build.
func TestARunnerInTheRepositoryGetsBoundCredentialsOnly(t *testing.T) {
	y := newEnv(t, 2)
	storeCredentials(t, y)
	s, users := specOn(t, y, "own")
	if diff := cmp.Diff([]string{"bound", "own reader (pull only)"}, users); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if !s.BuilderTLS.IsZero() {
		t.Error("it gets the builder's certificate")
	}
	if !y.BuilderTLS("own").IsZero() {
		t.Error("its probe gets the builder's certificate")
	}
	all, err := y.store.Registries(t.Context())
	must(t, err)
	for _, r := range all {
		if r.AutomatedBuildID == y.owner.ID {
			must(t, y.store.DeleteRegistry(t.Context(), r.ID))
		}
	}
	if _, users := specOn(t, y, "own"); len(users) != 0 {
		t.Errorf("got %q, want none: nothing is bound any more", users)
	}
}

// An attempt may outlive its engine's configuration: its runner gets no more than any runner may have.
func TestARunnerOfAnUnknownEngineGetsBoundCredentialsOnly(t *testing.T) {
	y := newEnv(t, 2)
	storeCredentials(t, y)
	s, users := specOn(t, y, "removed")
	if diff := cmp.Diff([]string{"bound", "own reader (pull only)"}, users); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if !s.BuilderTLS.IsZero() {
		t.Error("it gets a builder's certificate")
	}
}

func TestTheSettingOfPushHooksReachesTheRunner(t *testing.T) {
	y := newEnv(t, 2)
	y.Dispatcher = dispatcher.New(
		dispatcher.Options{Store: y.store, Connector: y.account, PushHooks: true, Now: y.clock},
	)
	if s, _ := specOn(t, y, "embedded"); !s.PushHooks {
		t.Error("got PushHooks off, want on")
	}
}
