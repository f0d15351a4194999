package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/store/storetest"
)

// tenants are two people with a private repository each, at one Bitbucket.
type tenants struct {
	*whole
	bitbucket *bitbuckettest.Server
	consumer  *bitbuckettest.Consumer
	provider  autobuild.Provider
	people    map[string]*bitbuckettest.User
	builds    map[string]autobuild.AutomatedBuild // by the owner's name
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	server, err := bitbuckettest.New(bitbuckettest.Options{Root: t.TempDir()})
	must(t, err)
	listener := httptest.NewServer(server)
	t.Cleanup(func() { server.Close(); listener.Close() })
	server.SetURL(listener.URL)
	w := &tenants{
		whole:     newWhole(t),
		bitbucket: server,
		people:    map[string]*bitbuckettest.User{},
		builds:    map[string]autobuild.AutomatedBuild{},
	}
	for _, name := range []string{"alice", "bob"} {
		u := server.AddUser(name)
		w.people[name] = u
		workspace := server.AddWorkspace(name+"-team", u)
		if w.consumer == nil {
			w.consumer, err = server.AddConsumer(
				workspace,
				url+"/oauth/bitbucket/callback",
				"account",
				"repository",
				"webhook",
			)
			must(t, err)
			w.provider, err = w.store.SaveProvider(t.Context(), autobuild.Provider{
				Kind:         autobuild.Cloud,
				Name:         "bitbucket-cloud",
				WebURL:       listener.URL,
				APIURL:       listener.URL,
				ClientID:     w.consumer.Key,
				ClientSecret: w.consumer.Secret,
			})
			must(t, err)
		}
		r, err := server.AddRepository(workspace, "secret-of-"+name, bitbuckettest.Private)
		must(t, err)
		w.builds[name] = storetest.AutomatedBuild(t, w.store, autobuild.Repository{
			ProviderID:    w.provider.ID,
			ID:            r.UUID,
			WorkspaceID:   workspace.UUID,
			FullName:      r.FullName(),
			DefaultBranch: "main",
			Private:       true,
		})
	}
	return w
}

// signIn is the Cookie header of a person who signed in.
func (w *tenants) signIn(t *testing.T, name string) http.Header {
	t.Helper()
	access, refresh := w.bitbucket.Link(w.people[name], w.consumer)
	user, err := w.store.SaveUser(
		t.Context(),
		autobuild.User{ProviderID: w.provider.ID, RemoteID: w.people[name].UUID, Name: name, Role: autobuild.RoleNone},
	)
	must(t, err)
	token := autobuild.NewToken()
	must(t, w.store.CreateSession(t.Context(), autobuild.Session{
		ID: autobuild.TokenHash(token), UserID: user.ID, ExpiresAt: time.Now().Add(time.Hour),
		Grant: autobuild.Grant{AccessToken: access, RefreshToken: refresh, ExpiresAt: time.Now().Add(2 * time.Hour)},
	}))
	return cookie(token.Reveal())
}

// Each person sees their own repository and nothing of the other's, as Bitbucket says.
func TestEachPersonSeesWhatBitbucketLetsThem(t *testing.T) {
	w := newTenants(t)
	for name, other := range map[string]string{"alice": "bob", "bob": "alice"} {
		signedIn := w.signIn(t, name)
		list := w.do("GET", "/automated-builds", "", signedIn)
		page := text(t, list)
		if list.StatusCode != http.StatusOK || !strings.Contains(page, "secret-of-"+name) {
			t.Errorf("%s: got %d without the own repository, want it: %s", name, list.StatusCode, page)
		}
		if strings.Contains(page, "secret-of-"+other) {
			t.Errorf("%s: got the name of %s's repository, want nothing of it", name, other)
		}
		if got := w.do(
			"GET",
			"/automated-builds/"+w.builds[name].ID+"/edit",
			"",
			signedIn,
		).StatusCode; got != http.StatusOK {
			t.Errorf("%s: edit the own: got %d, want 200", name, got)
		}
		for _, path := range []string{"", "/edit", "/delete"} {
			if got := w.do(
				"GET",
				"/automated-builds/"+w.builds[other].ID+path,
				"",
				signedIn,
			).StatusCode; got != http.StatusNotFound {
				t.Errorf("%s: GET %s of %s's: got %d, want 404", name, path, other, got)
			}
		}
		for _, path := range []string{"/start", "/edit", "/secret", "/webhook", "/pipeline-token", "/pipeline-token/revoke", "/delete"} {
			if got := w.do(
				"POST",
				"/automated-builds/"+w.builds[other].ID+path,
				"",
				signedIn,
			).StatusCode; got != http.StatusNotFound {
				t.Errorf("%s: POST %s of %s's: got %d, want 404", name, path, other, got)
			}
		}
	}
}
