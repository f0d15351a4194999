package cloud_test

import (
	"io"
	"net/http"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/cloud"
)

func TestHookCalls(t *testing.T) {
	var sent []string
	record := func(response string, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
			sent = append(sent, r.Method+" "+string(text))
			status(code, response)(w, r)
		}
	}
	hook := `{"uuid":"{h}","url":"https://ci.example/h","active":true,"events":["repo:push"],"secret_set":true}`
	one := appPath + "/hooks/%7Bh%7D"
	c := serve(t, map[string]http.HandlerFunc{
		"GET " + appPath + "/hooks": body(`{"values":[` + hook + `]}`),
		"POST " + appPath + "/hooks": record(
			hook,
			201,
		),
		"PUT " + one:    record(hook, 200),
		"DELETE " + one: record("", 204),
	})
	want := cloud.Hook{UUID: "{h}", URL: "https://ci.example/h", Active: true, Events: []string{"repo:push"},
		SecretSet: true}
	s := cloud.HookSettings{Description: "d", URL: "https://ci.example/h", Events: []string{"repo:push"},
		Secret: secret.New("s")}
	all, err := c.Hooks(t.Context(), app)
	check(t, err, []cloud.Hook{want}, all)
	made, err := c.CreateHook(t.Context(), app, s)
	check(t, err, want, made)
	s.Secret = secret.Secret{}
	updated, err := c.UpdateHook(t.Context(), app, "{h}", s)
	check(t, err, want, updated)
	check(t, c.DeleteHook(t.Context(), app, "{h}"), []string{
		`POST {"description":"d","url":"https://ci.example/h","active":true,"events":["repo:push"],"secret":"s"}`,
		`PUT {"description":"d","url":"https://ci.example/h","active":true,"events":["repo:push"]}`,
		`DELETE `,
	}, sent)
}

func TestPutStatus(t *testing.T) {
	var sent string
	c := serve(
		t,
		map[string]http.HandlerFunc{
			"POST " + appPath + "/commit/" + hash1 + "/statuses/build": func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
				sent = string(text)
				status(201, `{"type":"build"}`)(w, r)
			},
		},
	)
	err := c.PutStatus(
		t.Context(),
		app,
		hash1,
		cloud.Status{Key: "k", State: "INPROGRESS", URL: "https://ci.example/b/1"},
	)
	check(t, err, `{"key":"k","state":"INPROGRESS","url":"https://ci.example/b/1"}`, sent)
}

// Cloud labels the empty answer to a deletion as text.
func TestDeleteHookWithAnyContentType(t *testing.T) {
	for _, kind := range []string{"", "text/plain", "text/html; charset=utf-8", "application/json"} {
		c := serve(t, map[string]http.HandlerFunc{
			"DELETE " + appPath + "/hooks/%7Bh%7D": func(w http.ResponseWriter, _ *http.Request) {
				if kind != "" {
					w.Header().Set("Content-Type", kind)
				}
				w.WriteHeader(http.StatusNoContent)
			},
		})
		if err := c.DeleteHook(t.Context(), app, "{h}"); err != nil {
			t.Errorf("delete a webhook with type %q: got error %v, want none", kind, err)
		}
	}
}
