package cloud_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/bitbucket"
)

const permissionsPath = "GET /2.0/user/workspaces/%7Bw-1%7D/permissions/repositories"

// Other repositories in the response do not count.
func TestPermissions(t *testing.T) {
	var query string
	c := serve(t, map[string]http.HandlerFunc{permissionsPath: func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.Query().Get("q")
		_, _ = io.WriteString(w, `{"values":[{"permission":"write","repository":{"uuid":"{r-1}"}},
			{"permission":"admin","repository":{"uuid":"{not-asked-for}"}}]}`)
	}})
	got, err := c.Permissions(t.Context(), "{w-1}", []string{"{r-1}", `{r-2}" OR permission = "admin`})
	check(t, err, map[string]string{"{r-1}": "write"}, got)
	const want = `repository.uuid = "{r-1}" OR repository.uuid = "{r-2}\" OR permission = \"admin"`
	if query != want {
		t.Errorf("query: got %s, want %s", query, want)
	}
}

// A query names at most forty repositories, so that its URL stays short.
func TestPermissionsOfManyRepositories(t *testing.T) {
	var asked []int
	c := serve(t, map[string]http.HandlerFunc{permissionsPath: func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, strings.Count(r.URL.Query().Get("q"), "repository.uuid"))
		_, _ = io.WriteString(w, `{"values":[]}`)
	}})
	var uuids []string
	for i := range 90 {
		uuids = append(uuids, fmt.Sprintf("{%d}", i))
	}
	got, err := c.Permissions(t.Context(), "{w-1}", uuids)
	check(t, err, map[string]string{}, got)
	check(t, nil, []int{40, 40, 10}, asked)
}

func TestPermissionsOfAWorkspaceThatIsNotVisible(t *testing.T) {
	for name, response := range map[string]http.HandlerFunc{
		"404": status(404, `{"type":"error","error":{"message":"No workspace with identifier 'acme'."}}`),
		"403": status(403, `{"type":"error","error":{"message":"You do not have access to this workspace."}}`),
	} {
		got, err := serve(t, map[string]http.HandlerFunc{permissionsPath: response}).Permissions(t.Context(), "{w-1}",
			[]string{"{r-1}"})
		if err != nil || len(got) != 0 {
			t.Errorf("%s: got %v and error %v, want none of both", name, got, err)
		}
	}
}

// A failed request is an error, and never "no permission".
func TestPermissionsThatAreNotKnown(t *testing.T) {
	for name, c := range map[string]struct {
		response http.HandlerFunc
		want     error
	}{
		"a missing scope": {status(403, `{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","detail":{"required":["account"],"granted":["webhook"]}}}`), bitbucket.ErrForbidden},
		"an outage":       {status(503, `{"type":"error","error":{"message":"Something went wrong"}}`), bitbucket.ErrUnavailable},
		"a removed API":   {status(410, `{"type":"error","error":{"message":"CHANGE-2770 - Functionality has been deprecated"}}`), bitbucket.ErrRemoved},
	} {
		_, err := serve(t, map[string]http.HandlerFunc{permissionsPath: c.response}).Permissions(t.Context(), "{w-1}",
			[]string{"{r-1}"})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestPublic(t *testing.T) {
	c := serve(
		t,
		map[string]http.HandlerFunc{
			"GET /2.0/repositories/%7Bw-1%7D": body(`{"values":[{"uuid":"{r-1}","is_private":false},
		{"uuid":"{r-2}","is_private":true},{"uuid":"{not-asked-for}","is_private":false}]}`),
		},
	)
	got, err := c.Public(t.Context(), "{w-1}", []string{"{r-1}", "{r-2}"})
	check(t, err, []string{"{r-1}"}, got)
}
