package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func sessions(t *testing.T, s *store.Store) {
	u, err := s.SaveUser(t.Context(),
		autobuild.User{ProviderID: "cloud", RemoteID: "{jo}", Name: "jo", Role: autobuild.RoleNone})
	must.Succeed(t, err)
	u.Role = autobuild.RoleAdmin
	changed, err := s.SaveUser(t.Context(), u)
	if diff := cmp.Diff(u, changed); diff != "" || err != nil {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
	byRemote, err := s.UserByRemote(t.Context(), "cloud", "{jo}")
	must.Succeed(t, err)
	if byRemote.ID != u.ID {
		t.Errorf("byRemote.ID: got %v, want %v", byRemote.ID, u.ID)
	}
	if _, err := s.SaveUser(t.Context(), autobuild.User{ProviderID: "cloud", RemoteID: "{jo}"}); !errors.Is(err,
		autobuild.ErrConflict) {
		t.Errorf("a second user with the same identity: got %v, want ErrConflict", err)
	}
	for range 2 { // identities not taken yet do not collide
		_, err := s.SaveUser(t.Context(), autobuild.User{Name: "nobody"})
		must.Succeed(t, err)
	}
	all, err := s.Users(t.Context())
	must.Succeed(t, err)
	if len(all) != 3 {
		t.Fatalf("len(all): got %v, want 3", len(all))
	}
	must.Succeed(
		t,
		s.CreateSession(t.Context(),
			autobuild.Session{ID: "old", UserID: u.ID, ExpiresAt: time.Now().Add(-time.Second)}),
	)
	must.Succeed(t,
		s.CreateSession(t.Context(), autobuild.Session{ID: "new", UserID: u.ID, ExpiresAt: time.Now().Add(time.Hour)}))
	got, err := s.SessionUser(t.Context(), "new")
	must.Succeed(t, err)
	if got.ID != u.ID {
		t.Errorf("got.ID: got %v, want %v", got.ID, u.ID)
	}
	must.Succeed(t, s.DeleteSession(t.Context(), "new"))
	for _, id := range []string{"old", "new", "none"} {
		if _, err := s.SessionUser(t.Context(), id); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("session %s: got %v, want ErrNotFound", id, err)
		}
	}
}

func oauthFlow(t *testing.T, s *store.Store) {
	want := autobuild.OAuthFlow{
		State:        "state",
		BrowserID:    "browser",
		ProviderID:   "cloud",
		UserID:       "u",
		CodeVerifier: secret.New("verifier"),
		ReturnTo:     "/x",
		ExpiresAt:    time.Now().Add(time.Minute).UTC().Truncate(time.Millisecond),
	}
	must.Succeed(t, s.SaveOAuthFlow(t.Context(), want))
	must.Succeed(t,
		s.SaveOAuthFlow(t.Context(), autobuild.OAuthFlow{State: "expired", ExpiresAt: time.Now().Add(-time.Minute)}))
	got, err := s.TakeOAuthFlow(t.Context(), "state")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
	for _, state := range []string{"state", "expired", "unknown"} {
		if _, err := s.TakeOAuthFlow(t.Context(), state); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("flow %s: got %v, want ErrNotFound", state, err)
		}
	}
}

// roleSet checks that SetRole writes only the role: it does not create a deleted user again.
func roleSet(t *testing.T, s *store.Store) {
	jo := createSignedInUser(t, s, "jo")
	must.Succeed(t, s.SetRole(t.Context(), jo.ID, autobuild.RoleAdmin))
	want := jo
	want.Role = autobuild.RoleAdmin
	got, err := s.SessionUser(t.Context(), "jo")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("got error %v, user (-want +got):\n%s", err, diff)
	}
	must.Succeed(t, s.DeleteUser(t.Context(), jo.ID))
	if err := s.SetRole(t.Context(), jo.ID, autobuild.RoleAdmin); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("of a removed person: got %v, want ErrNotFound", err)
	}
	if _, err := s.User(t.Context(), jo.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("a removed person: got %v, want ErrNotFound", err)
	}
}

// flowsDeleted checks that a flow does not outlive the sessions of its user. The end of a flow
// signs its user in, and it may have started with a stolen cookie.
func flowsDeleted(t *testing.T, s *store.Store) {
	for what, end := range map[string]func(u autobuild.User) error{
		"sign-out":     func(u autobuild.User) error { return s.DeleteSession(t.Context(), u.Name) },
		"end sessions": func(u autobuild.User) error { return s.EndSessions(t.Context(), u.ID) },
		"removal":      func(u autobuild.User) error { return s.DeleteUser(t.Context(), u.ID) },
		"another role": func(u autobuild.User) error { return s.SetRole(t.Context(), u.ID, autobuild.RoleNone) },
	} {
		victim, other := createSignedInUser(t, s, what), createSignedInUser(t, s, "other than "+what)
		for _, u := range []autobuild.User{victim, other} {
			must.Succeed(t, s.SaveOAuthFlow(t.Context(), autobuild.OAuthFlow{
				State: "of " + u.Name, UserID: u.ID, ExpiresAt: time.Now().Add(time.Minute),
			}))
		}
		must.Succeed(t, end(victim))
		if _, err := s.TakeOAuthFlow(t.Context(), "of "+victim.Name); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("%s: flow of the user: got %v, want ErrNotFound", what, err)
		}
		if _, err := s.TakeOAuthFlow(t.Context(), "of "+other.Name); err != nil {
			t.Errorf("%s: flow of another user: got %v, want it kept", what, err)
		}
	}
}

func firstToken(t *testing.T, s *store.Store) {
	must.Succeed(t, s.CreateFirstToken(t.Context(), "replaced", time.Now().Add(time.Hour)))
	must.Succeed(t, s.CreateFirstToken(t.Context(), "expired", time.Now().Add(-time.Hour)))
	for _, wrong := range []string{"wrong", "replaced", "expired"} {
		if _, err := s.TakeFirstToken(t.Context(), wrong); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("token %s: got %v, want ErrNotFound", wrong, err)
		}
	}
	must.Succeed(t, s.CreateFirstToken(t.Context(), "right", time.Now().Add(time.Hour)))
	var taken atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if u, err := s.TakeFirstToken(t.Context(), "right"); err == nil && u.Role == autobuild.RoleAdmin {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("successful uses of the token: got %d, want 1", taken.Load())
	}
	// A second token of the same administrator, for a browser that lost its session, creates no user.
	must.Succeed(t, s.CreateFirstToken(t.Context(), "again", time.Now().Add(time.Hour)))
	admin, err := s.TakeFirstToken(t.Context(), "again")
	must.Succeed(t, err)
	users, err := s.Users(t.Context())
	must.Succeed(t, err)
	if len(users) != 1 {
		t.Fatalf("len(users): got %v, want 1", len(users))
	}
	if users[0].ID != admin.ID {
		t.Errorf("users[0].ID: got %v, want %v", users[0].ID, admin.ID)
	}
	admin.ProviderID, admin.RemoteID = "cloud", "{jo}"
	_, err = s.SaveUser(t.Context(), admin)
	must.Succeed(t, err)
	if err := s.CreateFirstToken(t.Context(), "late", time.Now().Add(time.Hour)); !errors.Is(err,
		autobuild.ErrConflict) {
		t.Errorf("a token although an administrator can sign in: got %v, want ErrConflict", err)
	}
}
