package pages_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

func TestRoles(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	dave, self := s.Users[autobuild.RoleNone], s.Users[autobuild.RoleAdmin]
	s.get(t, autobuild.RoleNone, "/settings/people").want(t, http.StatusForbidden, "Only administrators can do this")
	s.post(t, autobuild.RoleAdmin, "/settings/people/"+dave.ID, "role", "admin").
		wantRedirect(t, "/settings/people?done=saved")
	s.get(t, autobuild.RoleNone, "/settings/people").want(t, http.StatusOK, "Dave New")
	s.post(t, autobuild.RoleAdmin, "/settings/people/"+dave.ID, "role", "none").
		wantRedirect(t, "/settings/people?done=saved")
	s.get(t, autobuild.RoleNone, "/settings/people").want(t, http.StatusForbidden)
	for _, unknown := range []string{"owner", "viewer", "member", ""} {
		s.post(t, autobuild.RoleAdmin, "/settings/people/"+dave.ID, "role", unknown).
			want(t, http.StatusUnprocessableEntity, "Unknown role")
	}
	s.post(t, autobuild.RoleAdmin, "/settings/people/"+self.ID, "role", "none").want(t, http.StatusConflict, "own role")
	s.post(t, autobuild.RoleAdmin, "/settings/people/none", "role", "admin").want(t, http.StatusNotFound)
}

func TestSessionsOfOthersEnd(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	bob := s.Users[pagestest.Writer]
	first, second := s.Cookie(t, pagestest.Writer), s.Cookie(t, pagestest.Writer)
	builds := func() *http.Request { return httptest.NewRequest(http.MethodGet, "/builds", nil) }
	s.do(t, builds(), first).want(t, http.StatusOK, "Build 15")
	s.post(t, autobuild.RoleAdmin, "/settings/people/"+bob.ID+"/sessions").
		wantRedirect(t, "/settings/people?done=ended")
	for _, c := range []*http.Cookie{first, second} {
		s.do(t, builds(), c).wantRedirect(t, "/signin?return_to=%2Fbuilds")
	}
	if at, err := s.Store.PermissionsAt(t.Context(), bob.ID); err != nil {
		t.Fatalf("time of the permissions: got error %v, want none", err)
	} else if !at.IsZero() {
		t.Errorf("time of the permissions: got %v, want the zero value", at)
	}
	s.post(t, autobuild.RoleAdmin, "/settings/people/"+s.Users[autobuild.RoleAdmin].ID+"/sessions").
		want(t, http.StatusConflict, "Sign out instead")
}

func TestAPersonIsRemoved(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	bob, alice := s.Users[pagestest.Writer], s.Users[autobuild.RoleAdmin]
	session := s.Cookie(t, pagestest.Writer)
	where := "/settings/people/" + bob.ID + "/remove"
	s.get(t, autobuild.RoleAdmin, where).want(t, http.StatusOK, "Type Bob Moss to confirm")
	s.post(t, autobuild.RoleAdmin, where, "name", "bob").want(t, http.StatusUnprocessableEntity)
	s.post(t, autobuild.RoleAdmin, where, "name", "Bob Moss").wantRedirect(t, "/settings/people?done=removed")
	s.do(t, httptest.NewRequest(http.MethodGet, "/builds", nil), session).wantRedirect(t, "/signin?return_to=%2Fbuilds")
	s.get(t, autobuild.RoleAdmin, where).want(t, http.StatusNotFound)
	s.get(t, autobuild.RoleAdmin, "/settings/people/"+alice.ID+"/remove").
		want(t, http.StatusConflict, "You cannot remove yourself")

	carol := s.Users[pagestest.Reader]
	_, err := s.Store.SaveAccount(t.Context(), autobuild.Account{
		ProviderID:  pagestest.ProviderID,
		Kind:        autobuild.AccountOAuth,
		UserID:      carol.ID,
		Name:        "carol",
		RemoteID:    carol.RemoteID,
		AccessToken: secret.New("t"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.post(t, autobuild.RoleAdmin, "/settings/people/"+carol.ID+"/remove", "name", "Carol View").
		want(t, http.StatusConflict, "owns a linked account")
}
