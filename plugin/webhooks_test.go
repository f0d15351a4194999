package plugin

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/catalog"
	"slipway/plugin/store/storetest"
)

// rotateEnv is a gateway with the webhook of acme/app at Bitbucket, and acme/docs without one.
type rotateEnv struct {
	environ  []string
	url      string
	listener net.Listener
	app      *bitbuckettest.Repository
	hook     autobuild.Hook
}

func newRotateEnv(t *testing.T, more ...string) *rotateEnv {
	t.Helper()
	bitbucket, err := bitbuckettest.New(bitbuckettest.Options{Root: t.TempDir(), AllowPrivateHooks: true})
	check(t, err)
	t.Cleanup(bitbucket.Close)
	server := httptest.NewServer(bitbucket)
	t.Cleanup(server.Close)
	bitbucket.SetURL(server.URL)
	e := &rotateEnv{listener: listen(t)}
	e.url = "http://" + e.listener.Addr().String()
	alice := bitbucket.AddUser("alice")
	acme := bitbucket.AddWorkspace("acme", alice)
	e.app, err = bitbucket.AddRepository(acme, "app", bitbuckettest.Private)
	check(t, err)
	consumer, err := bitbucket.AddConsumer(acme, e.url+"/oauth/bitbucket/callback", "account", "repository", "webhook")
	check(t, err)
	e.environ = append([]string{
		"SLIPWAY_URL=" + e.url, "SLIPWAY_DATA=" + filepath.Join(t.TempDir(), "data"),
		"SLIPWAY_BITBUCKET_URL=" + server.URL, "SLIPWAY_BITBUCKET_API_URL=" + server.URL,
		"SLIPWAY_BITBUCKET_CLIENT_ID=" + consumer.Key, "SLIPWAY_BITBUCKET_CLIENT_SECRET=" + consumer.Secret.Reveal(),
		"SLIPWAY_BUILDER=tcp://127.0.0.1:1",
	}, more...)
	e.makeDatabase(t)
	access, refresh := bitbucket.Link(alice, consumer)
	e.addHooks(t, autobuild.Account{
		Kind: autobuild.AccountOAuth, Name: "alice", RemoteID: alice.UUID, State: autobuild.AccountLinked,
		AccessToken: access, RefreshToken: refresh, ExpiresAt: time.Now().Add(time.Hour),
	})
	return e
}

// makeDatabase opens the gateway as its first start does, and closes it.
func (e *rotateEnv) makeDatabase(t *testing.T) {
	t.Helper()
	c, err := config.LoadGateway(e.environ)
	check(t, err)
	g, err := New(t.Context(), Options{Config: c, Listener: e.listener, Log: discard.Logger()})
	check(t, err)
	g.Close()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (e *rotateEnv) addHooks(t *testing.T, alice autobuild.Account) {
	t.Helper()
	c, err := config.LoadGateway(e.environ)
	check(t, err)
	s, err := assembly.OpenBeside(t.Context(), c)
	check(t, err)
	defer s.Close()
	providers, err := s.Providers(t.Context())
	check(t, err)
	alice.ProviderID = providers[0].ID
	alice, err = s.SaveAccount(t.Context(), alice)
	check(t, err)
	for name, id := range map[string]string{"acme/app": e.app.UUID, "acme/docs": "{docs}"} {
		r := autobuild.Repository{ProviderID: alice.ProviderID, ID: id, FullName: name}
		_, err := s.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
			AccountID:  alice.ID,
			Repository: r,
			Image:      "registry.example.com/" + name,
			Engine:     "embedded",
			Autotest:   autobuild.AutotestOff,
			Rules:      []autobuild.Rule{autobuild.DefaultRule("main")},
		})
		check(t, err)
		keeper := catalog.New(
			catalog.Options{
				Store:     s,
				Connector: accounts.New(accounts.Options{Store: s, URL: c.URL, Log: discard.Logger()}),
				URL:       c.URL,
			},
		)
		h, err := keeper.EnsureHook(t.Context(), r, alice.ID)
		check(t, err)
		if name == "acme/app" {
			e.hook = h
		}
	}
	if e.hook.State != autobuild.HookActive {
		t.Fatalf("webhook of acme/app: got %s (%s), want active", e.hook.State, e.hook.Problem)
	}
}

// sign returns the header of a delivery as Bitbucket sends it now.
func (e *rotateEnv) sign(body []byte) http.Header {
	return e.app.DeliveryHeader(e.url+"/hooks/bitbucket/"+e.hook.ID, "repo:push", body)
}

// send sends a delivery to the gateway and returns the status of its response.
func (e *rotateEnv) send(t *testing.T, header http.Header, body []byte) int {
	t.Helper()
	r, err := http.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		e.url+"/hooks/bitbucket/"+e.hook.ID,
		bytes.NewReader(body),
	)
	check(t, err)
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	check(t, err)
	response.Body.Close()
	return response.StatusCode
}

// I2: `slipway webhooks rotate` works beside a running gateway, which accepts both secrets at
// once.
func TestI2RotateBesideARunningGateway(t *testing.T) {
	for name, more := range map[string]func(*testing.T) []string{
		"SQLite": func(*testing.T) []string { return nil },
		"PostgreSQL": func(t *testing.T) []string {
			return []string{"SLIPWAY_DATABASE=" + storetest.PostgresAddress(t).Reveal(), "SLIPWAY_KEY_FILE=" + filepath.Join(t.TempDir(), "secret.key")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newRotateEnv(t, more(t)...)
			e.listener = relisten(t, e.listener)
			stop := serve(t, e.environ, e.listener)
			body := []byte(`{}`)
			old := e.sign(body)
			var out bytes.Buffer
			check(t, rotateWebhooks(t.Context(), &out, e.environ, []string{"acme/app"}))
			if want := "✓ acme/app: rotated; the old secret is accepted until "; !strings.HasPrefix(
				out.String(),
				want,
			) {
				t.Errorf("output: got %q, want %q…", out.String(), want)
			}
			renewed := e.sign(body)
			if renewed.Get(webhook.SignatureHeader) == old.Get(webhook.SignatureHeader) {
				t.Error("signature of Bitbucket: got the old secret's, want the new one's")
			}
			for name, header := range map[string]http.Header{"old": old, "new": renewed} {
				if got := e.send(t, header, body); got != http.StatusAccepted {
					t.Errorf("a delivery with the %s secret: got status %d, want %d", name, got, http.StatusAccepted)
				}
			}
			stop()
		})
	}
}

func TestRotateOfAStoppedGateway(t *testing.T) {
	e := newRotateEnv(t)
	var out bytes.Buffer
	check(t, rotateWebhooks(t.Context(), &out, e.environ, nil))
	for _, want := range []string{"✓ acme/app: rotated; ", "! acme/docs: stored; if the webhook was added by hand, paste the secret"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("--all: got no %q, want it:\n%s", want, out.String())
		}
	}
	out.Reset()
	check(t, rotateWebhooks(t.Context(), &out, e.environ, nil))
	if want := "- acme/app: rotated less than 24 hours ago\n- acme/docs: rotated less than 24 hours ago\n"; out.String() != want {
		t.Errorf("--all again: got %q, want %q", out.String(), want)
	}
	out.Reset()
	err := rotateWebhooks(t.Context(), &out, e.environ, []string{"acme/app"})
	if err == nil || !strings.Contains(out.String(), "try again after") {
		t.Errorf(`acme/app again: got error %v and output %q, want an error and "try again after"`, err, out.String())
	}
	err = rotateWebhooks(t.Context(), &out, e.environ, []string{"acme/app", "acme/none"})
	if err == nil || !strings.Contains(err.Error(), "acme/none: no such repository") {
		t.Errorf(`an unknown repository: got %v, want an error with "acme/none: no such repository"`, err)
	}
}

// Doctor names a webhook whose new secret Bitbucket has not confirmed.
func TestDoctorNamesAPendingSecret(t *testing.T) {
	e := newRotateEnv(t)
	c, err := config.LoadGateway(e.environ)
	check(t, err)
	s, err := assembly.OpenBeside(t.Context(), c)
	check(t, err)
	defer s.Close()
	_, err = s.ReplaceHookSecret(t.Context(), e.hook, secret.New("next"), time.Now().Add(time.Hour))
	check(t, err)
	want := "✕ webhook      acme/app: Bitbucket does not have the new secret yet: run `slipway webhooks rotate acme/app`\n"
	output, err := runDoctor(t, e.environ)
	if err == nil {
		t.Error("a pending secret: got no error, want one")
	}
	wantOutput(t, output, want)
	var out bytes.Buffer
	check(t, rotateWebhooks(t.Context(), &out, e.environ, []string{"acme/app"}))
	output, _ = runDoctor(t, e.environ)
	if strings.Contains(output, "✕ webhook") {
		t.Errorf("output of doctor after a repeated rotation: got\n%s\nwant no webhook problem", output)
	}
}

func TestRotateNeedsTheGatewaysSettings(t *testing.T) {
	var out bytes.Buffer
	if err := rotateWebhooks(t.Context(), &out, nil, nil); err == nil || !strings.Contains(err.Error(), "SLIPWAY_URL") {
		t.Errorf(`no settings: got %v, want an error with "SLIPWAY_URL"`, err)
	}
	environ := settingsOf(t, listen(t))
	err := rotateWebhooks(t.Context(), &out, environ, nil)
	if err == nil || !strings.Contains(err.Error(), "secret.key") {
		t.Errorf(`no key: got %v, want an error with "secret.key"`, err)
	}
	for _, arguments := range [][]string{{"rotate"}, {"rotate", "--all", "acme/app"}} {
		command := webhooksCommand()
		command.ExitErrHandler = func(context.Context, *cli.Command, error) {} // which would end the test
		if err := command.Run(context.Background(), append([]string{"webhooks"}, arguments...)); err == nil {
			t.Errorf("%v: got no error, want one", arguments)
		}
	}
}
