package bitbuckettest

import "net/http"

// unserved has calls of the API that clients make and that this server does not serve. Bitbucket answers
// them with 403 to credentials without the scope, and so does this server. The consumers and access tokens
// of a build service have none of these scopes.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#bitbucket-oauth-2-0-scopes.
var unserved = []struct{ methods, path, scope string }{
	{"PUT POST", "", "repository:admin"},
	{"DELETE", "", "repository:delete"},
	{"POST", "/src", "repository:write"},
	{"POST", "/forks", "repository:write"},
	{"POST", "/refs/branches", "repository:write"},
	{"DELETE", "/refs/branches/{name...}", "repository:write"},
	{"POST", "/refs/tags", "repository:write"},
	{"DELETE", "/refs/tags/{name...}", "repository:write"},
	{"POST DELETE", "/commit/{revision}/approve", "repository:write"},
	{"POST", "/downloads", "repository:write"},
	{"POST", "/pullrequests", "pullrequest:write"},
	{"PUT", "/pullrequests/{id}", "pullrequest:write"},
	{"POST", "/pullrequests/{id}/merge", "pullrequest:write"},
	{"POST", "/pullrequests/{id}/decline", "pullrequest:write"},
	{"POST DELETE", "/pullrequests/{id}/approve", "pullrequest:write"},
	{"POST DELETE", "/pullrequests/{id}/request-changes", "pullrequest:write"},
	{"GET", "/default-reviewers", "pullrequest"},
	{"GET", "/effective-default-reviewers", "pullrequest"},
	{"GET POST", "/issues", "issue"},
	{"GET", "/issues/{rest...}", "issue"},
	{"GET", "/pipelines", "pipeline"},
	{"GET", "/pipelines/{rest...}", "pipeline"},
	{"GET PUT", "/pipelines_config", "pipeline"},
	{"GET PUT", "/pipelines_config/{rest...}", "pipeline"},
	{"GET POST", "/environments", "pipeline"},
	{"GET", "/deployments_config/{rest...}", "pipeline"},
	{"GET POST", "/deploy-keys", "repository:admin"},
	{"GET DELETE", "/deploy-keys/{id}", "repository:admin"},
	{"GET POST", "/branch-restrictions", "repository:admin"},
	{"GET", "/branch-restrictions/{id}", "repository:admin"},
	{"GET", "/permissions-config/{rest...}", "repository:admin"},
}

// empty lists calls whose lists are always empty here.
var empty = []struct{ path, scope string }{
	{"/watchers", "repository"},
	{"/forks", "repository"},
	{"/downloads", "repository"},
	{"/commit/{revision}/comments", "repository"},
	{"/pullrequests/{id}/activity", "pullrequest"},
}

func (s *Server) listNothing(c *call) error { return s.writePage(c, []object{}) }

// notServed responds to a call of unserved with a sufficient credential. It is no answer of Bitbucket.
func (s *Server) notServed(*call) error {
	return &apiError{status: http.StatusNotImplemented, message: "bitbuckettest does not serve this call"}
}
