package catalog_test

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	containers "github.com/google/go-containerregistry/pkg/registry"

	"slipway/config/must"
	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/catalog"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

const publicURL = "https://ci.example.com"

// env is a gateway's catalog on a real store, in front of a Bitbucket with acme/app and
// acme/lib in it, and a registry. Alice owns both repositories; bob may read them.
type env struct {
	*catalog.Catalog
	options    catalog.Options
	dir        string // of the store
	store      *store.Store
	bitbucket  *bitbuckettest.Server
	faults     *faults.Faults
	app, lib   *bitbuckettest.Repository
	alice, bob autobuild.Account
	registry   string // host
}

func newEnv(t *testing.T, change ...func(*bitbuckettest.Options)) *env {
	t.Helper()
	o := bitbuckettest.Options{Root: t.TempDir(), AllowPrivateHooks: true}
	for _, c := range change {
		c(&o)
	}
	server, err := bitbuckettest.New(o)
	must.Succeed(t, err)
	e := &env{bitbucket: server, faults: faults.New(server), dir: t.TempDir()}
	e.store = storetest.OpenAt(t, e.dir, time.Now)
	listener := httptest.NewServer(e.faults)
	t.Cleanup(func() { server.Close(); listener.Close() })
	server.SetURL(listener.URL)
	images := httptest.NewServer(containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	e.registry = strings.TrimPrefix(images.URL, "http://")

	alice, bob := server.AddUser("alice"), server.AddUser("bob")
	acme := server.AddWorkspace("acme", alice)
	e.app, err = server.AddRepository(acme, "app", bitbuckettest.Private)
	must.Succeed(t, err)
	e.lib, err = server.AddRepository(acme, "lib", bitbuckettest.Public)
	must.Succeed(t, err)
	e.app.Grant(bob, bitbuckettest.Read)
	consumer, err := server.AddConsumer(acme, publicURL+"/cb", "account", "repository", "webhook")
	must.Succeed(t, err)
	p, err := e.store.SaveProvider(
		t.Context(),
		autobuild.Provider{Kind: autobuild.Cloud, Name: "bitbucket-cloud", WebURL: listener.URL, APIURL: listener.URL},
	)
	must.Succeed(t, err)
	link := func(u *bitbuckettest.User) autobuild.Account {
		token, refresh := server.Link(u, consumer)
		a, err := e.store.SaveAccount(t.Context(), autobuild.Account{
			ProviderID:   p.ID,
			Kind:         autobuild.AccountOAuth,
			Name:         u.Name,
			RemoteID:     u.UUID,
			AccessToken:  token,
			RefreshToken: refresh,
			ExpiresAt:    time.Now().Add(time.Hour),
			State:        autobuild.AccountLinked,
		})
		must.Succeed(t, err)
		return a
	}
	e.alice, e.bob = link(alice), link(bob)
	e.options = catalog.Options{
		Store:         e.store,
		Connector:     accounts.New(accounts.Options{Store: e.store, URL: publicURL}),
		URL:           publicURL + "/",
		DefaultEngine: "embedded",
		Registry: catalog.RemoteRegistry{Policy: netpolicy.Policy{
			Exceptions: []netpolicy.Exception{{Network: netip.MustParsePrefix("127.0.0.1/32")}},
			OpenOwn:    true,
		}},
	}
	e.Catalog = catalog.New(e.options)
	return e
}

// commit pushes a commit to a branch of a repository.
func commit(t *testing.T, r *bitbuckettest.Repository, branch string, files map[string]string) string {
	t.Helper()
	hash, err := r.Commit(t.Context(), branch, files, "Change "+branch)
	must.Succeed(t, err)
	return hash
}

func (e *env) draft() catalog.Draft {
	return catalog.Draft{
		AccountID:  e.alice.ID,
		Repository: "acme/app",
		Image:      e.registry + "/acme/app",
		Rules:      []autobuild.Rule{autobuild.DefaultRule("main")},
		UserID:     "u1",
		Duplicate:  true, // most tests need a second automated build, and ask no question
	}
}

func (e *env) create(t *testing.T, d catalog.Draft) catalog.Saved {
	t.Helper()
	saved, err := e.Create(t.Context(), d)
	must.Succeed(t, err)
	return saved
}

// with returns a catalog on the same store with other options.
func (e *env) with(change func(*catalog.Options)) *catalog.Catalog {
	o := e.options
	change(&o)
	return catalog.New(o)
}

// A checker is a fake RegistryChecker.
type checker func(image string, r autobuild.Registry) error

func (c checker) Check(_ context.Context, image string, r autobuild.Registry) error {
	return c(image, r)
}

func password(s string) secret.Secret { return secret.New(s) }
