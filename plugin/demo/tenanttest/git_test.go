package tenanttest

import (
	"net/http"
	"slices"
	"strings"
)

const (
	gitPrefix = "/git/"
	// discovery is the first call of a fetch, below a build's id.
	discovery = "/info/refs?service=git-upload-pack"
)

// gitElsewhere tries to fetch the repository of one tenant with the attempt token of the other tenant:
// at the routes of that build, and with paths that try to leave the routes of the own build.
func gitElsewhere(e *env, from, to *tenant) {
	isGit := func(route string) bool { return strings.Contains(route, " "+gitPrefix) }
	if !slices.ContainsFunc(e.Gateway.Routes(), isGit) {
		e.T.Fatal("routes of the git proxy: got none, want some that begin with " + gitPrefix)
	}
	own, other := gitPrefix+from.build.ID, gitPrefix+to.build.ID
	response := e.program(http.MethodGet, own+discovery, from.attemptToken, "")
	if response.Status != http.StatusOK || !strings.Contains(response.Body, "service=git-upload-pack") {
		e.T.Errorf("refs of %s's own repository: got %d %s, want 200",
			from.person.Name, response.Status, brief(response.Body))
	}
	name := to.project.Repository.FullName()
	for _, call := range []struct{ method, path string }{
		{http.MethodGet, other + discovery},
		{http.MethodPost, other + "/git-upload-pack"},
		{http.MethodPost, other + "/info/lfs/objects/batch"},
		{http.MethodGet, own + "/../" + to.build.ID + discovery},
		{http.MethodGet, own + "/%2e%2e/" + to.build.ID + discovery},
		{http.MethodGet, own + "%2f..%2f" + to.build.ID + discovery},
		{http.MethodGet, "//git/" + to.build.ID + discovery},
		{http.MethodGet, gitPrefix + "/" + to.build.ID + discovery},
		{http.MethodGet, own + "/../../" + name + ".git" + discovery},
		{http.MethodGet, own + "/" + name + ".git" + discovery},
		{http.MethodGet, own + discovery + "&repository=" + name},
		{http.MethodGet, own + "/info/refs?service=git-receive-pack"},
		{http.MethodPost, own + "/git-receive-pack"},
	} {
		what := call.method + " " + call.path + " with the attempt token of " + from.person.Name
		response := e.program(call.method, call.path, from.attemptToken, "0000")
		if response.Status < http.StatusMultipleChoices {
			e.T.Errorf("%s: got status %d, want a rejection", what, response.Status)
		}
		e.hidesOf(to, what, response)
	}
}
