package storetest

import (
	"errors"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func formsOnce(t *testing.T, s *store.Store) {
	createSignedInUser(t, s, "alice")
	createSignedInUser(t, s, "bob")
	later := time.Now().Add(time.Hour)
	begin := func(session string, claimed bool, location string) {
		t.Helper()
		got, at, err := s.BeginForm(t.Context(), session, "key", later)
		must.Succeed(t, err)
		if got != claimed {
			t.Errorf("form of %s: got claimed %t, want %t", session, got, claimed)
		}
		if at != location {
			t.Errorf("form of %s: got the redirect %q, want %q", session, at, location)
		}
	}
	answer := func(session, key, location string, want error) {
		t.Helper()
		got, err := s.FormLocation(t.Context(), session, key)
		if !errors.Is(err, want) {
			t.Errorf("form %s of %s: got error %v, want %v", key, session, err, want)
		}
		if got != location {
			t.Errorf("form %s of %s: got the redirect %q, want %q", key, session, got, location)
		}
	}
	answer("alice", "key", "", autobuild.ErrNotFound)
	begin("alice", true, "")
	answer("alice", "key", "", nil)
	begin("alice", false, "")
	must.Succeed(t, s.FinishForm(t.Context(), "alice", "key", "/builds/1"))
	begin("alice", false, "/builds/1")
	answer("alice", "key", "/builds/1", nil)
	answer("bob", "key", "", autobuild.ErrNotFound)
	begin("bob", true, "") // another session, another form
	must.Succeed(t, s.DropForm(t.Context(), "bob", "key"))
	answer("bob", "key", "", autobuild.ErrNotFound)
	begin("bob", true, "")
	if _, _, err := s.BeginForm(t.Context(), "nobody", "key", later); err == nil {
		t.Error("form without a session: got no error, want one")
	}
	_, _, err := s.BeginForm(t.Context(), "bob", "short", time.Now().Add(-time.Second))
	must.Succeed(t, err)
	answer("bob", "short", "", autobuild.ErrNotFound)
	claimed, _, err := s.BeginForm(t.Context(), "bob", "short", later)
	must.Succeed(t, err)
	if !claimed {
		t.Error("expired form: got it claimed, want it free")
	}
	must.Succeed(t, s.DeleteSession(t.Context(), "alice"))
	must.Succeed(t, s.FinishForm(t.Context(), "alice", "key", "/")) // no error after the session
}

func formResults(t *testing.T, s *store.Store) {
	createSignedInUser(t, s, "alice")
	createSignedInUser(t, s, "bob")
	later := time.Now().Add(time.Hour)
	must.Succeed(t, s.SetFormResult(t.Context(), "alice", "key", secret.New("t0ps3cret"), later))
	must.Succeed(t, s.SetFormResult(t.Context(), "alice", "old", secret.New("x"), time.Now().Add(-time.Second)))
	for range 2 {
		got, err := s.FormResult(t.Context(), "alice", "key")
		must.Succeed(t, err)
		if got.Reveal() != "t0ps3cret" {
			t.Errorf("result: got %q, want the stored one", got.Reveal())
		}
	}
	for session, key := range map[string]string{"bob": "key", "alice": "old", "": ""} {
		if _, err := s.FormResult(t.Context(), session, key); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("result %s of %s: got error %v, want ErrNotFound", key, session, err)
		}
	}
	got, err := s.TakeFormResult(t.Context(), "alice", "key")
	must.Succeed(t, err)
	if got.Reveal() != "t0ps3cret" {
		t.Errorf("taken result: got %q, want the stored one", got.Reveal())
	}
	if _, err := s.TakeFormResult(t.Context(), "alice", "key"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("result taken twice: got error %v, want ErrNotFound", err)
	}
}
