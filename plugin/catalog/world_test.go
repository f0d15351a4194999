package catalog_test

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	containers "github.com/google/go-containerregistry/pkg/registry"

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

// world is a gateway's catalog on a real store, in front of a Bitbucket with acme/app and
// acme/lib in it, and a registry. Alice owns both repositories; bob may read them.
type world struct {
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

func newWorld(t *testing.T, change ...func(*bitbuckettest.Options)) *world {
	t.Helper()
	o := bitbuckettest.Options{Root: t.TempDir(), AllowPrivateHooks: true}
	for _, c := range change {
		c(&o)
	}
	server, err := bitbuckettest.New(o)
	must(t, err)
	w := &world{bitbucket: server, faults: faults.New(server), dir: t.TempDir()}
	w.store = storetest.OpenAt(t, w.dir, time.Now)
	listener := httptest.NewServer(w.faults)
	t.Cleanup(func() { server.Close(); listener.Close() })
	server.SetURL(listener.URL)
	images := httptest.NewServer(containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	w.registry = strings.TrimPrefix(images.URL, "http://")

	alice, bob := server.AddUser("alice"), server.AddUser("bob")
	acme := server.AddWorkspace("acme", alice)
	w.app, err = server.AddRepository(acme, "app", bitbuckettest.Private)
	must(t, err)
	w.lib, err = server.AddRepository(acme, "lib", bitbuckettest.Public)
	must(t, err)
	w.app.Grant(bob, bitbuckettest.Read)
	consumer, err := server.AddConsumer(acme, publicURL+"/cb", "account", "repository", "webhook")
	must(t, err)
	p, err := w.store.SaveProvider(
		t.Context(),
		autobuild.Provider{Kind: autobuild.Cloud, Name: "bitbucket-cloud", WebURL: listener.URL, APIURL: listener.URL},
	)
	must(t, err)
	link := func(u *bitbuckettest.User) autobuild.Account {
		token, refresh := server.Link(u, consumer)
		a, err := w.store.SaveAccount(t.Context(), autobuild.Account{
			ProviderID:   p.ID,
			Kind:         autobuild.AccountOAuth,
			Name:         u.Name,
			RemoteID:     u.UUID,
			AccessToken:  token,
			RefreshToken: refresh,
			ExpiresAt:    time.Now().Add(time.Hour),
			State:        autobuild.AccountLinked,
		})
		must(t, err)
		return a
	}
	w.alice, w.bob = link(alice), link(bob)
	w.options = catalog.Options{
		Store:         w.store,
		Connector:     accounts.New(accounts.Options{Store: w.store, URL: publicURL}),
		URL:           publicURL + "/",
		DefaultEngine: "embedded",
	}
	w.Catalog = catalog.New(w.options)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commit pushes a commit to a branch of a repository.
func commit(t *testing.T, r *bitbuckettest.Repository, branch string, files map[string]string) string {
	t.Helper()
	hash, err := r.Commit(t.Context(), branch, files, "Change "+branch)
	must(t, err)
	return hash
}

func (w *world) draft() catalog.Draft {
	return catalog.Draft{
		AccountID:  w.alice.ID,
		Repository: "acme/app",
		Image:      w.registry + "/acme/app",
		Rules:      []autobuild.Rule{autobuild.DefaultRule("main")},
		UserID:     "u1",
	}
}

func (w *world) create(t *testing.T, d catalog.Draft) catalog.Saved {
	t.Helper()
	saved, err := w.Create(t.Context(), d)
	must(t, err)
	return saved
}

// with is a catalog on the same store with other options.
func (w *world) with(change func(*catalog.Options)) *catalog.Catalog {
	o := w.options
	change(&o)
	return catalog.New(o)
}

// A checker answers for a registry that cannot be started here.
type checker func(image string, r autobuild.Registry) error

func (c checker) Check(_ context.Context, image string, r autobuild.Registry) error {
	return c(image, r)
}

func password(s string) secret.Secret { return secret.New(s) }
