package bitbuckettest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestStatusesAreUpserted(t *testing.T) {
	e := newEnv(t)
	commit, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	path := "/2.0/repositories/acme/app/commit/" + commit + "/statuses"
	status, first := e.call(t, "POST", path+"/build", map[string]any{
		"key":     "slipway/a b",
		"state":   "INPROGRESS",
		"url":     "http://127.0.0.1:8080/{repository.full_name}/{commit.hash}",
		"refname": "main",
	})
	if status != 201 {
		t.Errorf("POST: got status %d, want 201", status)
	}
	for field, want := range map[string]any{
		"type": "build", "name": "slipway/a b", "url": "http://127.0.0.1:8080/acme/app/" + commit,
	} {
		if first[field] != want {
			t.Errorf("POST: got %s %v, want %v", field, first[field], want)
		}
	}
	status, second := e.call(t, "POST", path+"/build", map[string]any{
		"key":     "slipway/a b",
		"state":   "SUCCESSFUL",
		"url":     "https://ci.example.com/2",
		"refname": "main",
	})
	if status != 200 || second["uuid"] != first["uuid"] {
		t.Errorf("POST of the same key: got %d %v, want 200 and the same UUID", status, second)
	}
	self := path + "/build/" + url.PathEscape("slipway/a b")
	status, changed := e.call(t, "PUT", self, map[string]any{"state": "FAILED", "description": "it broke"})
	if status != 200 || changed["url"] != "https://ci.example.com/2" {
		t.Errorf("PUT: got %d %v, want 200 and the same URL", status, changed)
	}
	if status, _ := e.call(t, "PUT", self, map[string]any{"key": "other", "state": "FAILED"}); status != 400 {
		t.Errorf("PUT of another key: got %d, want 400", status)
	}
	if status, _ := e.call(t, "PUT", path+"/build/none", map[string]any{"state": "FAILED"}); status != 404 {
		t.Errorf("PUT of an unknown key: got %d, want 404", status)
	}
	status, stored := e.call(t, "GET", self, nil)
	if status != 200 {
		t.Errorf("GET: got status %d, want 200", status)
	}
	if stored["state"] != "FAILED" {
		t.Errorf("GET: got state %v, want FAILED", stored["state"])
	}
	if stored["description"] != "it broke" {
		t.Errorf("GET: got description %v, want it broke", stored["description"])
	}
	if status, _ := e.call(t, "GET", path+"/build/none", nil); status != 404 {
		t.Errorf("GET of an unknown key: got %d, want 404", status)
	}
	other := map[string]any{"key": "other", "state": "STOPPED", "url": "https://ci.example.com/3"}
	e.call(t, "POST", path+"/build", other)
	if diff := cmp.Diff([]string{"slipway/a b", "other"}, e.names(t, path+"?pagelen=1", "key")); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"slipway/a b"}, e.names(t, path+"?refname=main", "key")); diff != "" {
		t.Errorf("list of a branch (-want +got):\n%s", diff)
	}
	want := []bitbuckettest.Status{
		{
			Key:         "slipway/a b",
			State:       "FAILED",
			Name:        "slipway/a b",
			Description: "it broke",
			URL:         "https://ci.example.com/2",
			Refname:     "main",
		},
		{Key: "other", State: "STOPPED", Name: "other", URL: "https://ci.example.com/3"},
	}
	ignore := cmpopts.IgnoreFields(bitbuckettest.Status{}, "CreatedOn", "UpdatedOn", "uuid")
	if diff := cmp.Diff(want, e.app.Statuses(commit), ignore); diff != "" {
		t.Errorf("Statuses (-want +got):\n%s", diff)
	}
	var states []string
	for _, s := range e.app.StatusHistory(commit) {
		states = append(states, s.State)
	}
	if got := strings.Join(states, " "); got != "INPROGRESS SUCCESSFUL FAILED STOPPED" {
		t.Errorf("history: got %s, want %s", got, "INPROGRESS SUCCESSFUL FAILED STOPPED")
	}
}

// Bitbucket accepts a form, and returns a relative URL of the new status. Its times have microseconds.
func TestAStatusIsPostedAsAForm(t *testing.T) {
	clock := newClock()
	e := newEnv(t, func(o *bitbuckettest.Options) { o.Now = clock.now })
	commit, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	const form = "state=SUCCESSFUL&key=slipway-1&name=app+1&url=https%3A%2F%2Fci.example.com%2F1&refname=main"
	build := app + "/commit/" + commit[:7] + "/statuses/build"
	response, body := e.send(t, "POST", build, "application/x-www-form-urlencoded", form)
	if response.StatusCode != 201 {
		t.Fatalf("POST: got %d %s, want 201", response.StatusCode, body)
	}
	location := "/!api/2.0/repositories/acme/app/commit/" + commit + "/statuses/build/slipway-1"
	if got := response.Header.Get("Location"); got != location {
		t.Errorf("Location: got %q, want %q", got, location)
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("Content-Type: got %q, want application/json", kind)
	}
	status, stored := e.call(t, "GET", location, nil)
	if status != 200 {
		t.Fatalf("GET of the Location: got %d %v, want 200", status, stored)
	}
	for field, want := range map[string]any{
		"key": "slipway-1", "state": "SUCCESSFUL", "name": "app 1", "url": "https://ci.example.com/1", "refname": "main",
	} {
		if stored[field] != want {
			t.Errorf("%s: got %v, want %v", field, stored[field], want)
		}
	}
	for _, field := range []string{"created_on", "updated_on"} {
		if text := fmt.Sprint(stored[field]); !precise.MatchString(text) {
			t.Errorf("%s: got %s, want microseconds and +00:00", field, text)
		}
	}
	response, _ = e.send(t, "POST", build, "application/x-www-form-urlencoded", form)
	if location := response.Header.Get("Location"); response.StatusCode != 200 || location != "" {
		t.Errorf("POST again: got %d with Location %q, want 200 without one", response.StatusCode, location)
	}
}

// precise matches the times of Bitbucket's own objects.
var precise = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$`)

func TestStatusesAreChecked(t *testing.T) {
	e := newEnv(t)
	commit, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	path := "/2.0/repositories/acme/app/commit/" + commit + "/statuses/build"
	for name, row := range map[string]struct {
		change map[string]any
		field  string
		want   string
	}{
		"key of 48":           {map[string]any{"key": strings.Repeat("k", 48)}, "key", "Ensure this value has at most 40 characters (it has 48)."},
		"no key":              {map[string]any{"key": ""}, "key", "required key not provided"},
		"no state":            {map[string]any{"state": nil}, "state", "required key not provided"},
		"unknown state":       {map[string]any{"state": "QUEUED"}, "state", "'QUEUED' is not a valid choice."},
		"name of 256":         {map[string]any{"name": strings.Repeat("é", 256)}, "name", "Ensure this value has at most 255 characters (it has 256)."},
		"description of 256":  {map[string]any{"description": strings.Repeat("d", 256)}, "description", "Ensure this value has at most 255 characters (it has 256)."},
		"url of 451":          {map[string]any{"url": "https://ci.example.com/" + strings.Repeat("u", 428)}, "url", "Ensure this value has at most 450 characters (it has 451)."},
		"no url":              {map[string]any{"url": nil}, "url", "required key not provided"},
		"localhost":           {map[string]any{"url": "http://localhost:8080/builds/1"}, "url", "Enter a valid URL."},
		"unqualified name":    {map[string]any{"url": "http://jenkins1:8080/builds/1"}, "url", "Enter a valid URL."},
		"relative url":        {map[string]any{"url": "/builds/1"}, "url", "Enter a valid URL."},
		"everything in place": {},
		"key of 40":           {change: map[string]any{"key": strings.Repeat("k", 40)}},
		"texts of 255":        {change: map[string]any{"name": strings.Repeat("é", 255), "description": strings.Repeat("d", 255)}},
		"address":             {change: map[string]any{"url": "http://[::1]:8080/builds/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			body := map[string]any{"key": "k", "state": "INPROGRESS", "url": "https://ci.example.com/1"}
			for field, value := range row.change {
				body[field] = value
			}
			status, response := e.call(t, "POST", path, body)
			if row.want == "" {
				if status >= 300 {
					t.Errorf("status: got %d %v, want less than 300", status, response)
				}
				return
			}
			want := map[string]any{"type": "error", "error": map[string]any{
				"message": row.field + ": " + row.want, "fields": map[string]any{row.field: []any{row.want}},
			}}
			if diff := cmp.Diff(want, response); status != 400 || diff != "" {
				t.Errorf("response with status %d (-want +got):\n%s", status, diff)
			}
		})
	}
	if status, _ := e.call(
		t,
		"POST",
		strings.Replace(path, commit, strings.Repeat("1", 40), 1),
		map[string]any{"key": "k", "state": "FAILED", "url": "https://ci.example.com/1"},
	); status != 404 {
		t.Errorf("unknown commit: got %d, want 404", status)
	}
	open, err := e.AddRepository(e.acme, "open", bitbuckettest.Public)
	must.Succeed(t, err)
	hash, err := open.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	if status, _ := e.callAs(
		t,
		"",
		"POST",
		"/2.0/repositories/acme/open/commit/"+hash+"/statuses/build",
		map[string]any{},
	); status != 401 {
		t.Errorf("a request without a login to a public repository: got %d, want 401", status)
	}
}

// A person's API token opens the API with their e-mail address, and as nothing else.
func TestStatusWithAnAPIToken(t *testing.T) {
	e := newEnv(t)
	token := e.alice.AddAPIToken("read:repository:bitbucket")
	narrow := e.alice.AddAPIToken("read:user:bitbucket")
	for _, c := range []struct {
		user string
		with secret.Secret
		want int
	}{
		{e.alice.Email, token, 200},
		{e.bob.Email, token, 401},
		{e.alice.Name, token, 401},
		{e.alice.Email, secret.New("other"), 401},
		{e.alice.Email, narrow, 403},
	} {
		request, err := http.NewRequestWithContext(
			t.Context(),
			http.MethodGet,
			e.URL()+"/2.0/repositories/acme/app",
			nil,
		)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(c.user, c.with.Reveal())
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s: got %d, want %d", c.user, response.StatusCode, c.want)
		}
	}
}
