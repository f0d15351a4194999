package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/store/storetest"
)

// tenantEnv has two users with one private repository each, at one Bitbucket.
type tenantEnv struct {
	*env
	bitbucket *bitbuckettest.Server
	consumer  *bitbuckettest.Consumer
	provider  autobuild.Provider
	people    map[string]*bitbuckettest.User
	builds    map[string]autobuild.AutomatedBuild // by the owner's name
}

func newTenantEnv(t *testing.T) *tenantEnv {
	t.Helper()
	server, err := bitbuckettest.New(bitbuckettest.Options{Root: t.TempDir()})
	must.Succeed(t, err)
	listener := httptest.NewServer(server)
	t.Cleanup(func() { server.Close(); listener.Close() })
	server.SetURL(listener.URL)
	e := &tenantEnv{
		env:       newEnv(t),
		bitbucket: server,
		people:    map[string]*bitbuckettest.User{},
		builds:    map[string]autobuild.AutomatedBuild{},
	}
	for _, name := range []string{"alice", "bob"} {
		u := server.AddUser(name)
		e.people[name] = u
		workspace := server.AddWorkspace(name+"-team", u)
		if e.consumer == nil {
			e.consumer, err = server.AddConsumer(
				workspace,
				url+"/oauth/bitbucket/callback",
				"account",
				"repository",
				"webhook",
			)
			must.Succeed(t, err)
			e.provider, err = e.store.SaveProvider(t.Context(), autobuild.Provider{
				Kind:         autobuild.Cloud,
				Name:         "bitbucket-cloud",
				WebURL:       listener.URL,
				APIURL:       listener.URL,
				ClientID:     e.consumer.Key,
				ClientSecret: e.consumer.Secret,
			})
			must.Succeed(t, err)
		}
		r, err := server.AddRepository(workspace, "secret-of-"+name, bitbuckettest.Private)
		must.Succeed(t, err)
		e.builds[name] = storetest.AutomatedBuild(t, e.store, autobuild.Repository{
			ProviderID:    e.provider.ID,
			ID:            r.UUID,
			WorkspaceID:   workspace.UUID,
			FullName:      r.FullName(),
			DefaultBranch: "main",
			Private:       true,
		})
	}
	return e
}

// signIn signs a user in and returns the Cookie header.
func (e *tenantEnv) signIn(t *testing.T, name string) http.Header {
	t.Helper()
	access, refresh := e.bitbucket.Link(e.people[name], e.consumer)
	user, err := e.store.SaveUser(
		t.Context(),
		autobuild.User{ProviderID: e.provider.ID, RemoteID: e.people[name].UUID, Name: name, Role: autobuild.RoleNone},
	)
	must.Succeed(t, err)
	token := autobuild.NewToken()
	must.Succeed(t, e.store.CreateSession(t.Context(), autobuild.Session{
		ID: autobuild.TokenHash(token), UserID: user.ID, ExpiresAt: time.Now().Add(time.Hour),
		Grant: autobuild.Grant{AccessToken: access, RefreshToken: refresh, ExpiresAt: time.Now().Add(2 * time.Hour)},
	}))
	return cookie(token.Reveal())
}

// Each user sees only their own repository.
func TestEachUserSeesOnlyReadableRepositories(t *testing.T) {
	e := newTenantEnv(t)
	for name, other := range map[string]string{"alice": "bob", "bob": "alice"} {
		signedIn := e.signIn(t, name)
		list := e.do("GET", "/automated-builds", "", signedIn)
		page := text(t, list)
		if list.StatusCode != http.StatusOK {
			t.Errorf("%s: got StatusCode %v, want %v", name, list.StatusCode, http.StatusOK)
		}
		if !strings.Contains(page, "secret-of-"+name) {
			t.Errorf("%s: got %q, want it to contain %q", name, page, "secret-of-"+name)
		}
		if strings.Contains(page, "secret-of-"+other) {
			t.Errorf("%s: got the name of %s's repository, want nothing of it", name, other)
		}
		if got := e.do(
			"GET",
			"/automated-builds/"+e.builds[name].ID+"/edit",
			"",
			signedIn,
		).StatusCode; got != http.StatusOK {
			t.Errorf("%s: edit the own: got %d, want 200", name, got)
		}
		for _, path := range []string{"", "/edit", "/delete"} {
			if got := e.do(
				"GET",
				"/automated-builds/"+e.builds[other].ID+path,
				"",
				signedIn,
			).StatusCode; got != http.StatusNotFound {
				t.Errorf("%s: GET %s of %s's: got %d, want 404", name, path, other, got)
			}
		}
		for _, path := range []string{
			"/start", "/edit", "/secret", "/webhook", "/pipeline-token", "/pipeline-token/revoke", "/delete",
		} {
			if got := e.do(
				"POST",
				"/automated-builds/"+e.builds[other].ID+path,
				"",
				signedIn,
			).StatusCode; got != http.StatusNotFound {
				t.Errorf("%s: POST %s of %s's: got %d, want 404", name, path, other, got)
			}
		}
	}
}
