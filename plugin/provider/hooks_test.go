package provider_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
)

const hookURL = "https://ci.example.com/hooks/bitbucket/h1"

var ours = autobuild.Webhook{URL: hookURL, Secret: secret.New("s3cret")}

// H1: After two calls, or a call with a lost id, exactly one webhook exists. Other webhooks on
// the same host stay.
func TestH1ExactlyOneHook(t *testing.T) {
	w := newEnv(t)
	c, ctx := w.as(t, w.alice), t.Context()
	neighbour, err := c.Hooks.Ensure(ctx, w.app(), autobuild.Webhook{URL: hookURL + "2", Secret: secret.New("x")})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Hooks.Ensure(ctx, w.app(), ours)
	if err != nil {
		t.Fatal(err)
	}
	remembered := ours
	remembered.RemoteID = first
	for _, webhook := range []autobuild.Webhook{ours, remembered, ours} {
		again, err := c.Hooks.Ensure(ctx, w.app(), webhook)
		same(t, err, first, again)
	}
	same(t, nil, []bitbuckettest.Hook{
		{UUID: neighbour, URL: hookURL + "2", Description: "Slipway automated builds", Events: []string{"repo:push"},
			Active: true, SecretSet: true},
		{
			UUID:        first,
			URL:         hookURL,
			Description: "Slipway automated builds",
			Events:      []string{"repo:push"},
			Active:      true,
			SecretSet:   true,
		},
	}, w.repo.Hooks())

	if err := c.Hooks.Remove(ctx, w.app(), remembered); err != nil {
		t.Fatal(err)
	}
	if err := c.Hooks.Remove(ctx, w.app(), remembered); err != nil {
		t.Errorf("remove twice: %v", err)
	}
	if hooks := w.repo.Hooks(); len(hooks) != 1 || hooks[0].UUID != neighbour {
		t.Errorf("webhooks left: got %+v, want only the neighbor's", hooks)
	}
}

// script is a hooks API that keeps a list and records the writes.
type script struct {
	hooks  string
	writes []string
	codes  map[string]int // by method
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		if code := s.codes["GET"]; code != 0 {
			w.WriteHeader(code)
			return
		}
		_, _ = w.Write([]byte(`{"values":[` + s.hooks + `]}`))
		return
	}
	last := r.URL.EscapedPath()[strings.LastIndex(r.URL.EscapedPath(), "/")+1:]
	s.writes = append(s.writes, r.Method+" "+last)
	if code := s.codes[r.Method]; code != 0 {
		w.WriteHeader(code)
		_, _ = w.Write(
			[]byte(
				`{"type":"error","error":{"message":"url: Enter a valid URL.","fields":{"url":["Enter a valid URL."]}}}`,
			),
		)
		return
	}
	_, _ = w.Write([]byte(`{"uuid":"{new}"}`))
}

// H2: A PUT repairs a disabled or incomplete webhook, and duplicates are deleted.
func TestH2Repairs(t *testing.T) {
	const (
		good     = `{"uuid":"{1}","url":"` + hookURL + `","active":true,"events":["repo:push","repo:fork"],"secret_set":true}`
		disabled = `{"uuid":"{1}","url":"` + hookURL + `","active":false,"events":["repo:push"],"secret_set":true}`
		deaf     = `{"uuid":"{1}","url":"` + hookURL + `","active":true,"events":["repo:fork"],"secret_set":true}`
		bare     = `{"uuid":"{1}","url":"` + hookURL + `","active":true,"events":["repo:push"],"secret_set":false}`
		double   = `{"uuid":"{2}","url":"` + hookURL + `","active":true,"events":["repo:push"],"secret_set":true}`
		other    = `{"uuid":"{3}","url":"https://ci.example.com/hooks/bitbucket/other","active":false}`
	)
	cases := map[string]struct {
		hooks, remembered, id string
		writes                []string
	}{
		"none":               {other, "", "{new}", []string{"POST hooks"}},
		"good":               {good, "{1}", "{1}", nil},
		"secret not known":   {good, "", "{1}", []string{"PUT %7B1%7D"}},
		"remembered another": {good, "{9}", "{1}", []string{"PUT %7B1%7D"}},
		"disabled":           {disabled, "{1}", "{1}", []string{"PUT %7B1%7D"}},
		"events missing":     {deaf, "{1}", "{1}", []string{"PUT %7B1%7D"}},
		"no secret":          {bare, "{1}", "{1}", []string{"PUT %7B1%7D"}},
		"doubled":            {good + "," + other + "," + double, "{1}", "{1}", []string{"DELETE %7B2%7D"}},
		"the second is ours": {good + "," + double, "{2}", "{2}", []string{"DELETE %7B1%7D"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &script{hooks: tc.hooks}
			webhook := ours
			webhook.RemoteID = tc.remembered
			id, err := handled(
				t,
				s.ServeHTTP,
			).Hooks.Ensure(
				t.Context(),
				autobuild.Repository{FullName: "acme/app"},
				webhook,
			)
			same(t, err, tc.id, id)
			if diff := cmp.Diff(tc.writes, s.writes); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

// A replaced secret is written even if the webhook needs no repair.
func TestEnsureRewritesTheSecret(t *testing.T) {
	s := &script{hooks: `{"uuid":"{1}","url":"` + hookURL + `","active":true,"events":["repo:push"],"secret_set":true}`}
	webhook := ours
	webhook.RemoteID, webhook.Rewrite = "{1}", true
	id, err := handled(t, s.ServeHTTP).Hooks.Ensure(t.Context(), autobuild.Repository{FullName: "acme/app"}, webhook)
	same(t, err, "{1}", id)
	if diff := cmp.Diff([]string{"PUT %7B1%7D"}, s.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// H4: A user without administrator rights gets a clear error, and no webhook is changed.
func TestH4NotAnAdministrator(t *testing.T) {
	w := newEnv(t)
	_, err := w.as(t, w.bob).Hooks.Ensure(t.Context(), w.app(), ours)
	if !errors.Is(err, autobuild.ErrForbidden) {
		t.Fatalf("ensure the webhook: got error %v, want %v", err, autobuild.ErrForbidden)
	}
	if !strings.Contains(err.Error(), "acme/app") {
		t.Errorf("ensure the webhook: got error %v, want it to contain acme/app", err)
	}
	if hooks := w.repo.Hooks(); len(hooks) != 0 {
		t.Errorf("webhooks: got %+v, want none", hooks)
	}
}

// An error for a URL that Cloud cannot reach contains Cloud's message.
func TestHookRefused(t *testing.T) {
	w := newEnv(t, func(o *bitbuckettest.Options) { o.AllowPrivateHooks = false })
	_, err := w.as(t, w.alice).Hooks.Ensure(t.Context(), w.app(),
		autobuild.Webhook{URL: "http://127.0.0.1:8080/hooks/bitbucket/h1", Secret: secret.New("s")})
	if !errors.Is(err, autobuild.ErrHookRefused) || errors.Is(err, autobuild.ErrUnavailable) {
		t.Fatalf("ensure: got error %v, want ErrHookRefused only", err)
	}
	s := &script{codes: map[string]int{"POST": 400}}
	_, err = handled(t, s.ServeHTTP).Hooks.Ensure(t.Context(), w.app(), ours)
	if !errors.Is(err, autobuild.ErrHookRefused) ||
		!strings.HasSuffix(err.Error(), "the provider refused the webhook: url: Enter a valid URL.") {
		t.Errorf(
			`ensure the webhook: got error %v, want ErrHookRefused with "the provider refused the webhook: url: Enter a valid URL."`,
			err,
		)
	}
}

func TestHookFailures(t *testing.T) {
	r := autobuild.Repository{FullName: "acme/app"}
	two := `{"uuid":"{1}","url":"` + hookURL + `"},{"uuid":"{2}","url":"` + hookURL + `"}`
	ensure := func(s *script) error {
		_, err := handled(t, s.ServeHTTP).Hooks.Ensure(t.Context(), r, ours)
		return err
	}
	if err := ensure(&script{codes: map[string]int{"POST": 503}}); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("create: got %v, want ErrUnavailable", err)
	}
	if err := ensure(
		&script{hooks: two, codes: map[string]int{"DELETE": 403}},
	); !errors.Is(
		err,
		autobuild.ErrForbidden,
	) {
		t.Errorf("delete a duplicate webhook: got %v, want ErrForbidden", err)
	}
	if err := ensure(&script{hooks: two, codes: map[string]int{"DELETE": 404}}); err != nil {
		t.Errorf("delete a duplicate that no longer exists: %v", err)
	}
	remove := func(s *script) error { return handled(t, s.ServeHTTP).Hooks.Remove(t.Context(), r, ours) }
	if err := remove(&script{codes: map[string]int{"GET": 404}}); err != nil {
		t.Errorf("remove from a deleted repository: %v", err)
	}
	if err := remove(&script{codes: map[string]int{"GET": 403}}); !errors.Is(err, autobuild.ErrForbidden) {
		t.Errorf("remove: got %v, want ErrForbidden", err)
	}
	if err := remove(&script{hooks: two, codes: map[string]int{"DELETE": 500}}); !errors.Is(err,
		autobuild.ErrUnavailable) {
		t.Errorf("remove: got %v, want ErrUnavailable", err)
	}
	if _, err := answering(t, 200, "", "{}").Hooks.Ensure(t.Context(), r, autobuild.Webhook{URL: hookURL}); err == nil {
		t.Error("create a webhook without a secret: got no error, want one")
	}
}
