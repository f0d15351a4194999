package storetest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func listBare(t *testing.T, s *store.Store) {
	has, err := s.HasAutomatedBuilds(t.Context())
	must.Succeed(t, err)
	if has {
		t.Error("automated builds of an empty database: got some, want none")
	}
	lib, app := AutomatedBuild(t, s, Repository("lib")), AutomatedBuild(t, s, Repository("app"))
	lib.AccountID = "other"
	lib, err = s.SaveAutomatedBuild(t.Context(), lib)
	must.Succeed(t, err)
	for want, f := range map[string]autobuild.BareFilter{
		"[acme/app acme/lib]": {},
		"[acme/lib]":          {AccountID: "other"},
		"[acme/app]":          {Image: app.Image},
		"[]":                  {AccountID: "other", Image: app.Image},
	} {
		all, err := s.BareAutomatedBuilds(t.Context(), f)
		must.Succeed(t, err)
		var names []string
		for _, a := range all {
			names = append(names, a.Repository.FullName)
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("filter %+v: got %s, want %s", f, got, want)
		}
	}
	all, err := s.BareAutomatedBuilds(t.Context(), autobuild.BareFilter{AccountID: "other"})
	must.Succeed(t, err)
	want := []autobuild.BareAutomatedBuild{{
		ID: lib.ID, AccountID: "other", Repository: lib.Repository, Image: lib.Image, Engine: lib.Engine,
	}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("bare automated build (-want +got):\n%s", diff)
	}
	counts, err := s.CountAutomatedBuilds(t.Context())
	must.Succeed(t, err)
	if diff := cmp.Diff(map[string]int{"account": 1, "other": 1}, counts); diff != "" {
		t.Errorf("automated builds by account (-want +got):\n%s", diff)
	}
	has, err = s.HasAutomatedBuilds(t.Context())
	must.Succeed(t, err)
	if !has {
		t.Error("automated builds: got none, want some")
	}
}

func listNames(t *testing.T, s *store.Store) {
	app, lib := newReadable(t, s, "app"), newReadable(t, s, "lib")
	jo := createSignedInUser(t, s, "jo")
	grant(t, s, jo, map[string]autobuild.Permission{app.automated.Repository.ID: autobuild.PermissionRead})
	automated, hooks := []string{app.automated.ID, "none", app.automated.ID}, []string{app.hook, ""}
	for n := range 150 { // more than one query
		automated, hooks = append(automated, fmt.Sprint(n)), append(hooks, fmt.Sprint(n))
	}
	automated, hooks = append(automated, lib.automated.ID), append(hooks, lib.hook)
	for name, c := range map[string]struct {
		viewer        autobuild.Viewer
		images, names map[string]string
	}{
		"an administrator": {
			autobuild.Viewer{Administrator: true},
			map[string]string{app.automated.ID: app.automated.Image, lib.automated.ID: lib.automated.Image},
			map[string]string{app.hook: "acme/app", lib.hook: "acme/lib"},
		},
		"jo": {
			autobuild.Viewer{UserID: jo.ID},
			map[string]string{app.automated.ID: app.automated.Image},
			map[string]string{app.hook: "acme/app"},
		},
		"nobody": {autobuild.Viewer{}, map[string]string{}, map[string]string{}},
	} {
		images, err := s.As(c.viewer).Images(t.Context(), automated)
		must.Succeed(t, err)
		if diff := cmp.Diff(c.images, images); diff != "" {
			t.Errorf("images for %s (-want +got):\n%s", name, diff)
		}
		names, err := s.As(c.viewer).HookNames(t.Context(), hooks)
		must.Succeed(t, err)
		if diff := cmp.Diff(c.names, names); diff != "" {
			t.Errorf("repositories of webhooks for %s (-want +got):\n%s", name, diff)
		}
	}
}

func listHooks(t *testing.T, s *store.Store) {
	lib, app := activeHook(t, s, Repository("lib")), activeHook(t, s, Repository("app"))
	lib.AccountID = "other"
	lib, err := s.SaveHook(t.Context(), lib)
	must.Succeed(t, err)
	of, err := s.HooksOfAccount(t.Context(), "other")
	must.Succeed(t, err)
	if diff := cmp.Diff([]autobuild.Hook{lib}, of); diff != "" {
		t.Errorf("webhooks of an account (-want +got):\n%s", diff)
	}
	all, err := s.HooksWithoutSecrets(t.Context())
	must.Succeed(t, err)
	want := []autobuild.Hook{app, lib}
	for i := range want {
		want[i].Secret, want[i].PreviousSecret = secret.Secret{}, secret.Secret{}
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("webhooks without secrets (-want +got):\n%s", diff)
	}
}
