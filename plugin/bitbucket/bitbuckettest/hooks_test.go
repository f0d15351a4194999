package bitbuckettest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

const hooksPath = "/2.0/repositories/acme/app/hooks"

func hookBody(change map[string]any) map[string]any {
	body := map[string]any{
		"description": "ci",
		"url":         "https://ci.example.com/hooks/1",
		"active":      true,
		"events":      []string{"repo:push"},
	}
	for name, value := range change {
		body[name] = value
	}
	return body
}

func TestAHookIsCreatedReadReplacedAndDeleted(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.AllowPrivateHooks = false })
	status, made := e.call(t, "POST", hooksPath, hookBody(map[string]any{"secret": "s3cret"}))
	if status != 201 {
		t.Fatalf("POST: got status %d %v, want 201", status, made)
	}
	for field, want := range map[string]any{
		"secret_set": true, "secret": nil, "subject_type": "repository", "active": true,
	} {
		if made[field] != want {
			t.Errorf("POST: got %s %v, want %v", field, made[field], want)
		}
	}
	self := hooksPath + "/" + url.PathEscape(made["uuid"].(string))
	for _, step := range []struct {
		change map[string]any
		want   bitbuckettest.Hook
	}{
		{map[string]any{"description": "without a secret"}, bitbuckettest.Hook{Active: true, SecretSet: true}},
		{map[string]any{"description": "inactive", "active": false}, bitbuckettest.Hook{SecretSet: true}},
		{map[string]any{"description": "null", "secret": nil}, bitbuckettest.Hook{Active: true}},
		{map[string]any{"description": "set again", "secret": "x"}, bitbuckettest.Hook{Active: true, SecretSet: true}},
		{map[string]any{"description": "emptied", "secret": ""}, bitbuckettest.Hook{Active: true}},
	} {
		step.want.UUID, step.want.URL = made["uuid"].(string), "https://ci.example.com/hooks/1"
		step.want.Description, step.want.Events = step.change["description"].(string), []string{"repo:push"}
		status, response := e.call(t, "PUT", self, hookBody(step.change))
		if status != 200 || response["uuid"] != made["uuid"] {
			t.Errorf("PUT %v: got %d %v, want 200 and the same UUID", step.change, status, response)
		}
		if diff := cmp.Diff([]bitbuckettest.Hook{step.want}, e.app.Hooks()); diff != "" {
			t.Errorf("PUT %v (-want +got):\n%s", step.change, diff)
		}
	}
	if status, response := e.call(t, "GET", self, nil); status != 200 || response["description"] != "emptied" {
		t.Errorf("GET: got status %d %v, want 200 with the changed description", status, response)
	}
	bare := strings.NewReplacer("%7B", "", "%7D", "").Replace(self)
	if status, response := e.call(t, "GET", bare, nil); status != 200 || response["uuid"] != made["uuid"] {
		t.Errorf("GET without braces: got %d %v, want 200 and the webhook", status, response)
	}
	response, _ := e.send(t, "DELETE", self, "", "")
	if response.StatusCode != 204 {
		t.Errorf("DELETE: got %d, want 204", response.StatusCode)
	}
	if kind := response.Header.Get("Content-Type"); kind != "text/plain" {
		t.Errorf("DELETE: got content type %q, want text/plain", kind)
	}
	if status, _ := e.call(t, "DELETE", self, nil); status != 404 {
		t.Errorf("second DELETE: got %d, want 404", status)
	}
}

func TestHooksArePagedAndLimited(t *testing.T) {
	e := newEnv(t)
	var want []string
	for i := range 50 {
		address := fmt.Sprintf("http://127.0.0.1:9/hooks/%d", i)
		e.addHook(t, address, "")
		want = append(want, address)
	}
	if diff := cmp.Diff(want, e.names(t, hooksPath+"?pagelen=20", "url")); diff != "" {
		t.Errorf("hooks (-want +got):\n%s", diff)
	}
	if status, response := e.call(t, "POST", hooksPath, hookBody(nil)); status != 400 {
		t.Errorf("the 51st webhook: got status %d %v, want 400", status, response)
	}
}

func TestHooksAreChecked(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.AllowPrivateHooks = false })
	const internal = "url: The URL cannot be an internal, non-routed address."
	for name, row := range map[string]struct {
		change map[string]any
		want   string
	}{
		"loopback":      {map[string]any{"url": "http://127.0.0.1:8080/x"}, internal},
		"loopback v6":   {map[string]any{"url": "http://[::1]/x"}, internal},
		"private":       {map[string]any{"url": "http://192.168.1.7/x"}, internal},
		"localhost":     {map[string]any{"url": "http://localhost/x"}, internal},
		"inner name":    {map[string]any{"url": "http://ci/x"}, internal},
		"mdns name":     {map[string]any{"url": "http://ci.local/x"}, internal},
		"no URL":        {map[string]any{"url": "ci.example.com"}, "url: Enter a valid URL."},
		"other scheme":  {map[string]any{"url": "ftp://ci.example.com"}, "url: Enter a valid URL."},
		"empty label":   {map[string]any{"url": "http://ci..example/x"}, internal},
		"no events":     {map[string]any{"events": []string{}}, "events: At least one event is required."},
		"unknown event": {map[string]any{"events": []string{"repo:explode"}}, "events: Unknown event: repo:explode"},
		"long secret":   {map[string]any{"secret": strings.Repeat("x", 129)}, "secret: Ensure this value has at most 128 characters."},
		"odd secret":    {map[string]any{"secret": 7}, "secret: Not a valid string."},
		"odd body":      {map[string]any{"events": 7}, "Bad request"},
	} {
		t.Run(name, func(t *testing.T) {
			status, response := e.call(t, "POST", hooksPath, hookBody(row.change))
			if status != 400 || dig(response, "error", "message") != row.want {
				t.Errorf("status: got %d %v, want %q", status, response, row.want)
			}
		})
	}
	if status, response := e.call(
		t,
		"POST",
		hooksPath,
		hookBody(map[string]any{"events": []string{"pullrequest:created"}}),
	); status != 403 ||
		fmt.Sprint(dig(response, "error", "detail", "required")) != "[pullrequest]" {
		t.Errorf("event outside the scopes: got status %d %v, want 403 that requires pullrequest", status, response)
	}
	if status, response := e.call(
		t,
		"POST",
		hooksPath,
		hookBody(map[string]any{"url": "https://203.0.113.9/x"}),
	); status != 201 {
		t.Errorf("a webhook to a public address: got status %d %v, want 201", status, response)
	}
	bob, _ := e.Link(e.bob, e.consumer)
	for permission, want := range map[bitbuckettest.Permission]int{bitbuckettest.None: 404, bitbuckettest.Write: 403, bitbuckettest.Admin: 201} {
		e.app.Grant(e.bob, permission)
		if status, response := e.callAs(t, bob.Reveal(), "POST", hooksPath, hookBody(nil)); status != want {
			t.Errorf("bob with %s: got status %d %v, want %d", permission, status, response, want)
		}
	}
	open, err := e.AddRepository(e.acme, "open", bitbuckettest.Public)
	must.Succeed(t, err)
	if status, _ := e.callAs(
		t,
		"",
		"GET",
		"/2.0/repositories/"+open.FullName()+"/hooks",
		nil,
	); status != http.StatusUnauthorized {
		t.Errorf("a request without a login to a public repository: got %d, want %d", status, http.StatusUnauthorized)
	}
}
