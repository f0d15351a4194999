package bitbuckettest_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestUsersAreFoundByIDOnly(t *testing.T) {
	e := newEnv(t)
	for id, want := range map[string]int{
		url.PathEscape(e.bob.UUID): 200, e.bob.AccountID: 200, "bob": 404, "{" + e.bob.Name + "}": 404,
	} {
		status, response := e.call(t, "GET", "/2.0/users/"+id, nil)
		if status != want {
			t.Errorf("user %s: got %d %v, want %d", id, status, response, want)
		}
		if status != 200 {
			continue
		}
		if response["account_id"] != e.bob.AccountID {
			t.Errorf("user %s: got account %v, want %s", id, response["account_id"], e.bob.AccountID)
		}
		if response["username"] != nil {
			t.Errorf("user %s: got the user name %v, want none", id, response["username"])
		}
		if created := fmt.Sprint(response["created_on"]); !precise.MatchString(created) {
			t.Errorf("user %s: got created_on %s, want microseconds", id, created)
		}
	}
}

func TestMembersOfAWorkspace(t *testing.T) {
	e := newEnv(t)
	e.app.Grant(e.bob, bitbuckettest.Write)
	const workspace = "/2.0/workspaces/acme"
	for path, want := range map[string][]string{
		"/permissions": {"owner", "member"},
		"/permissions?q=user.uuid%3D%22" + url.QueryEscape(e.bob.UUID) + "%22": {"member"},
		"/permissions/repositories":       {"admin", "write"},
		"/permissions/repositories/app":   {"admin", "write"},
		"/permissions/repositories/other": nil,
	} {
		if diff := cmp.Diff(want, e.names(t, workspace+path, "permission")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if diff := cmp.Diff([]string{"alice", "bob"}, e.names(t, workspace+"/members", "user", "nickname")); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"PROJ"}, e.names(t, workspace+"/projects", "key")); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
	bob, _ := e.Link(e.bob, e.consumer)
	for path, want := range map[string]int{"/members": 200, "/permissions/repositories": 403} {
		if status, response := e.callAs(t, bob.Reveal(), "GET", workspace+path, nil); status != want {
			t.Errorf("%s as a member: got %d %v, want %d", path, status, response, want)
		}
	}
}

// Calls that a build service never needs are answered as to its credential, with an error in JSON.
func TestCallsOutsideTheScopes(t *testing.T) {
	e := newHistory(t)
	for call, want := range map[string]string{
		"DELETE " + app: "repository:delete", "POST " + app + "/src": "repository:write",
		"POST " + app + "/refs/branches": "repository:write", "DELETE " + app + "/refs/branches/a/b": "repository:write",
		"POST " + app + "/pullrequests/1/merge": "pullrequest:write", "GET " + app + "/issues/": "issue",
		"GET " + app + "/pipelines/": "pipeline", "GET " + app + "/deploy-keys": "repository:admin",
	} {
		var method, path string
		_, err := fmt.Sscan(call, &method, &path)
		if err != nil {
			t.Fatal(err)
		}
		status, response := e.call(t, method, path, nil)
		required := fmt.Sprint(dig(response, "error", "detail", "required"))
		if status != 403 || required != "["+want+"]" {
			t.Errorf("%s: got %d, required %s, want 403 and %s", call, status, required, want)
		}
	}
	for _, list := range []string{"/watchers", "/forks", "/downloads", "/commit/" + e.first + "/comments"} {
		if got := e.names(t, app+list, "id"); len(got) != 0 {
			t.Errorf("%s: got %v, want an empty list", list, got)
		}
	}
	access, _ := e.Link(e.alice, e.consumerOf(t, "issue"))
	if status, response := e.callAs(t, access.Reveal(), "GET", app+"/issues", nil); status != 501 {
		t.Errorf("issues with their scope: got %d %v, want 501", status, response)
	}
}
