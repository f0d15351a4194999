package pages_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

// A sent form is one that a route accepts.
type sent struct {
	role   autobuild.Role
	path   string
	values []string
}

// acceptedForms returns a form for each route that takes one. The route of the one-time token is left out: only
// a new installation has it, and TestI11OneTimeToken sends it.
func acceptedForms(s *env) map[string]sent {
	admin, app, worker := autobuild.RoleAdmin, "/automated-builds/"+s.App.ID, "/automated-builds/"+s.Worker.ID
	idle := "/settings/people/" + s.Users[pagestest.Idle].ID
	registry := "/settings/registries/" + s.Registry.ID
	return map[string]sent{
		"/signout":                                    {admin, "/signout", nil},
		"/permissions/refresh":                        {pagestest.Reader, "/permissions/refresh", nil},
		"/automated-builds/new":                       {admin, "/automated-builds/new", draft(s)},
		"/automated-builds/:id/start":                 {admin, app + "/start", []string{"rule", "default"}},
		"/automated-builds/:id/edit":                  {admin, app + "/edit", draft(s)},
		"/automated-builds/:id/secret":                {admin, worker + "/secret", nil},
		"/automated-builds/:id/pipeline-token":        {admin, app + "/pipeline-token", nil},
		"/automated-builds/:id/pipeline-token/revoke": {admin, app + "/pipeline-token/revoke", nil},
		"/automated-builds/:id/webhook":               {admin, worker + "/webhook", nil},
		"/automated-builds/:id/webhook/rotate":        {admin, app + "/webhook/rotate", nil},
		"/automated-builds/:id/delete":                {admin, worker + "/delete", []string{"name", "acme/worker"}},
		"/builds/:number/cancel":                      {admin, path(s.Waiting, "/cancel"), nil},
		"/builds/:number/retry":                       {admin, path(s.Broken, "/retry"), nil},
		"/builds/:number/rebuild":                     {admin, path(s.Done, "/rebuild"), nil},
		"/setup/:id": {
			admin,
			"/setup/bitbucket",
			[]string{"client_id", "k", "client_secret", "s"},
		},
		"/settings/providers/:id/token": {admin, "/settings/providers/bitbucket/token", tokenForm()},
		"/settings/accounts/:id/unlink": {
			admin,
			"/settings/accounts/" + s.Account.ID + "/unlink",
			[]string{"name", "alice"},
		},
		"/settings/registries":           {admin, "/settings/registries", registryForm()},
		"/settings/registries/:id/check": {admin, registry + "/check", nil},
		"/settings/registries/:id/delete": {
			admin,
			registry + "/delete",
			[]string{"name", "registry.example.com"},
		},
		"/settings/engines/:id/environment": {admin, "/settings/engines/drone/environment", nil},
		"/settings/engines/:id/fix":         {admin, "/settings/engines/drone/fix", nil},
		"/settings/people/:id":              {admin, idle, []string{"role", "admin"}},
		"/settings/people/:id/sessions":     {admin, idle + "/sessions", nil},
		"/settings/people/:id/remove":       {admin, idle + "/remove", []string{"name", "Fay Idle"}},
	}
}

func tokenForm() []string {
	return []string{"kind", "workspace_token", "name", "ci", "workspace", "acme", "token", "sesame"}
}

func registryForm() []string {
	return []string{"host", "r.example.com", "username", "u", "password", "sesame"}
}

// A page that answers a POST itself sends the form again when it is loaded again.
func TestEveryFormRedirectsToItsResult(t *testing.T) {
	for _, r := range pagestest.Empty(t).Pages.Routes() {
		if r.Method != http.MethodPost || r.Path == "/signin/token" {
			continue
		}
		t.Run(r.Path, func(t *testing.T) {
			s := newEnv(pagestest.Open(t))
			token := autobuild.TokenHash(secret.New("pipeline"))
			if err := s.Store.SetPipelineToken(t.Context(), s.App.ID, token, "alice"); err != nil {
				t.Fatal(err)
			}
			form, known := acceptedForms(s)[r.Path]
			if !known {
				t.Fatalf("form of %s: got none in acceptedForms, want one", r.Path)
			}
			answer := s.post(t, form.role, form.path, form.values...)
			if answer.StatusCode != http.StatusSeeOther {
				t.Fatalf("status: got %d, want 303: %s", answer.StatusCode, words(answer.main()))
			}
			result := s.follow(t, form.role, answer)
			result.want(t, http.StatusOK)
			checkMarkupOf(t, result)
		})
	}
}

// checkMarkupOf checks a page that may show the secret which its form asked for.
func checkMarkupOf(t *testing.T, r reply) {
	t.Helper()
	if n := len(find(r.Page, "h1")); n != 1 {
		t.Errorf("h1 elements: got %d, want 1", n)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: got %q, want no-store", got)
	}
}

// postForms returns the forms of a page that change something.
func postForms(r reply) []*html.Node {
	return slices.DeleteFunc(find(r.Page, "form"), func(n *html.Node) bool { return attr(n, "method") != "post" })
}

// formKey returns the key of a form, or "".
func formKey(form *html.Node) string {
	for _, input := range find(form, "input") {
		if attr(input, "name") == "key" && attr(input, "type") == "hidden" {
			return attr(input, "value")
		}
	}
	return ""
}

// Every form on every page has a key, and every route that takes a form has one on a page.
func TestEveryFormHasAKey(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.cookie(t, pagestest.Idle) // a session to end
	s.App.Engine = "own"
	if _, err := s.Store.SaveAutomatedBuild(t.Context(), s.App); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.SetPipelineToken(t.Context(), s.App.ID, "hash", "alice"); err != nil {
		t.Fatal(err)
	}
	visits := append(addresses(s), "/automated-builds/"+s.App.ID+"/webhook/rotate",
		"/settings/people/"+s.Users[pagestest.Idle].ID+"/remove")
	seen := map[string]bool{}
	for _, role := range []autobuild.Role{autobuild.RoleAdmin, pagestest.Reader} {
		for _, address := range visits {
			for _, form := range postForms(s.get(t, role, address)) {
				action, _, _ := strings.Cut(attr(form, "action"), "#")
				seen[action] = true
				withoutKey := action == "/signin/token" || action == "/signout" || action == "/permissions/refresh"
				if !withoutKey && len(formKey(form)) < 20 {
					t.Errorf("%s: form of %s: got the key %q, want a random one", address, action, formKey(form))
				}
			}
		}
	}
	for _, r := range s.Pages.Routes() {
		if r.Method != http.MethodPost || r.Path == "/signin/token" {
			continue
		}
		pattern := regexp.MustCompile("^" + regexp.MustCompile(`:[a-z]+`).ReplaceAllString(r.Path, `[^/]+`) + "$")
		found := false
		for action := range seen {
			found = found || pattern.MatchString(action)
		}
		if !found {
			t.Errorf("%s: got no form on a page, want one", r.Path)
		}
	}
}

// creatingForms are the forms that create something, with the number of the created things. A new route must be
// added here if a double click on its button would create twice.
func creatingForms(t *testing.T, s *env) map[string]func() int {
	count := func(list func() (int, error)) func() int {
		return func() int {
			n, err := list()
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	builds := count(func() (int, error) {
		all, err := s.Store.Builds(t.Context(), autobuild.BuildFilter{Limit: 1000})
		return len(all), err
	})
	return map[string]func() int{
		"/automated-builds/new": count(func() (int, error) {
			all, err := s.Store.AutomatedBuilds(t.Context())
			return len(all), err
		}),
		"/automated-builds/:id/start": builds,
		"/builds/:number/rebuild":     builds,
		"/settings/providers/:id/token": count(func() (int, error) {
			all, err := s.Store.Accounts(t.Context())
			return len(all), err
		}),
	}
}

func TestADoubleClickCreatesOnce(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.cookie(t, autobuild.RoleAdmin)
	for route, created := range creatingForms(t, s) {
		form := acceptedForms(s)[route]
		values := append(form.values, "duplicate", "yes", "key", "key-of-"+route)
		before := created()
		answers := make([]string, 4)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = s.post(t, form.role, form.path, values...).Header.Get("Location") })
		}
		all.Wait()
		if got := created() - before; got != 1 {
			t.Errorf("%s sent %d times: got %d created, want 1", route, len(answers), got)
		}
		if answers[0] == "" || len(slices.Compact(slices.Clone(answers))) != 1 {
			t.Errorf("%s: answers: got %q, want the same redirect", route, answers)
		}
		// Changed values are another form, for example after the Back button.
		changed := append(values, "note", "changed")
		if s.post(t, form.role, form.path, changed...); created()-before != 2 {
			t.Errorf("%s with a changed value: got %d created, want 2", route, created()-before)
		}
		// A form without a key is a new one each time.
		s.post(t, form.role, form.path, append(form.values, "duplicate", "yes")...)
		s.post(t, form.role, form.path, append(form.values, "duplicate", "yes")...)
		if got := created() - before; got != 4 {
			t.Errorf("%s without a key: got %d created, want 4", route, got)
		}
	}
}

// A form with an invalid field, or whose request failed, can be sent again.
func TestAFormThatWasNotHandledCanBeSentAgain(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	values := append(draft(s), "key", "again")
	for _, err := range []error{
		autobuild.FieldError{Field: "image", Message: "no"}, fmt.Errorf("bitbucket: %w", autobuild.ErrUnavailable),
		fmt.Errorf("a fault of ours"),
	} {
		s.Services.Fail(err)
		if got := s.post(t, autobuild.RoleAdmin, "/automated-builds/new", values...).StatusCode; got < 400 {
			t.Fatalf("%v: got status %d, want an error", err, got)
		}
	}
	s.Services.Fail(nil)
	s.post(t, autobuild.RoleAdmin, "/automated-builds/new", values...).want(t, http.StatusSeeOther)
}

// Each person's form is another one, also with the same key and values.
func TestAKeyCountsForOneSession(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	form := acceptedForms(s)["/automated-builds/:id/start"]
	values := append(form.values, "key", "shared")
	first := s.post(t, autobuild.RoleAdmin, form.path, values...).Header.Get("Location")
	second := s.post(t, pagestest.Writer, form.path, values...).Header.Get("Location")
	if first == "" || second == "" || first == second {
		t.Errorf("builds of two people: got %q and %q, want two builds", first, second)
	}
}

// A secret is shown on the page of its form only.
func TestAResultIsShownOnItsPageOnly(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	if err := s.Store.SetPipelineToken(t.Context(), s.App.ID, "hash", "alice"); err != nil {
		t.Fatal(err)
	}
	app, worker := "/automated-builds/"+s.App.ID, "/automated-builds/"+s.Worker.ID
	secretOf := func(page string) string {
		h, err := s.Store.HookOf(t.Context(), map[string]autobuild.Repository{
			app: s.App.Repository, worker: s.Worker.Repository,
		}[page])
		if err != nil {
			t.Fatal(err)
		}
		return h.Secret.Reveal()
	}
	for _, row := range []struct {
		page string
		want bool
	}{{worker, true}, {app, false}} {
		answer := s.post(t, autobuild.RoleAdmin, worker+"/secret")
		_, query, _ := strings.Cut(answer.Header.Get("Location"), "?")
		query, _, _ = strings.Cut(query, "#")
		r := s.get(t, autobuild.RoleAdmin, row.page+"?"+query)
		r.want(t, http.StatusOK)
		if got := strings.Contains(r.Text, secretOf(row.page)); got != row.want {
			t.Errorf("%s: got its secret shown %t, want %t", row.page, got, row.want)
		}
	}
}

// slowForms is a store whose first answer to a form waits until a repeated form has asked for it twice.
type slowForms struct {
	pages.Store
	claims, reads atomic.Int32
	asked         chan struct{}
}

func (s *slowForms) BeginForm(ctx context.Context, session, key string, until time.Time) (bool, string, error) {
	s.claims.Add(1)
	return s.Store.BeginForm(ctx, session, key, until)
}

func (s *slowForms) FormLocation(ctx context.Context, session, key string) (string, error) {
	if s.reads.Add(1) == 2 {
		close(s.asked)
	}
	return s.Store.FormLocation(ctx, session, key)
}

func (s *slowForms) FinishForm(ctx context.Context, session, key, location string) error {
	<-s.asked
	return s.Store.FinishForm(ctx, session, key, location)
}

// A repeated form that waits for the first one does not write: it would delay the writes of all others.
func TestARepeatedFormWaitsWithoutWrites(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.cookie(t, autobuild.RoleAdmin)
	forms := &slowForms{Store: s.Pages.Store, asked: make(chan struct{})}
	s.Pages.Store = forms
	form := acceptedForms(s)["/automated-builds/:id/start"]
	answers := make([]string, 2)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			answers[i] = s.post(t, form.role, form.path, append(form.values, "key", "slow")...).Header.Get("Location")
		})
	}
	all.Wait()
	if answers[0] == "" || answers[0] != answers[1] {
		t.Errorf("answers: got %q, want the same redirect", answers)
	}
	if got := forms.claims.Load(); got != 2 {
		t.Errorf("claims of the form: got %d, want 2", got)
	}
}
