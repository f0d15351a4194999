package bitbuckettest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// maxJSON is the maximum size of an API request's body, in bytes.
const maxJSON = 1 << 20

// A call is an authenticated request to the API.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	who  principal
	repo *Repository // set on the routes below /2.0/repositories/{workspace}/{slug}
	page window      // set on the routes of lists
}

// A handler responds to a call, or returns an error for the response.
type handler func(c *call) error

func (s *Server) apiRoutes() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, h handler, scopes ...string) {
		mux.Handle(pattern, s.handle(h, scopes))
	}
	route("/2.0/", s.noSuchAPI)

	// Removed in 2026: they return 410 Gone.
	for _, path := range []string{
		"workspaces", "repositories", "user/permissions/workspaces", "user/permissions/repositories",
	} {
		route("/2.0/"+path, s.gone)
	}

	route("GET /2.0/user", s.getUser, "account")
	route("GET /2.0/user/emails", s.paged(shortList, s.listEmails), "email")
	route("GET /2.0/user/workspaces", s.paged(repositoryList, s.listWorkspaces), "account")
	route("GET /2.0/user/workspaces/{workspace}/permission", s.getWorkspacePermission, "account")
	permissions := "GET /2.0/user/workspaces/{workspace}/permissions/repositories"
	route(permissions, s.paged(permissionList, s.listRepositoryPermissions), "account", "repository")
	route("GET /2.0/users/{user}", s.getOtherUser)
	route("GET /2.0/workspaces/{workspace}", s.getWorkspace, "account")
	for path, h := range map[string]handler{
		"permissions": s.listMembers(true), "members": s.listMembers(false), "projects": s.listProjects,
		"permissions/repositories": s.listPermissions, "permissions/repositories/{slug}": s.listPermissions,
	} {
		route("GET /2.0/workspaces/{workspace}/"+path, s.paged(shortList, h), "account")
	}
	route("GET /2.0/repositories/{workspace}", s.paged(repositoryList, s.listRepositories), "repository")

	s.repositoryRoutes(mux)
	return mux
}

func (s *Server) repositoryRoutes(mux *http.ServeMux) {
	route := func(method, path string, needs Permission, h handler, scope string) {
		pattern := method + " /2.0/repositories/{workspace}/{slug}" + path
		mux.Handle(pattern, s.handle(s.onRepository(needs, h), []string{scope}))
	}
	read := func(path string, h handler) { route("GET", path, Read, h, "repository") }
	list := func(path string, kind listing, h handler) { read(path, s.paged(kind, h)) }

	read("", s.getRepository)
	list("/refs", refList, s.listRefs)
	list("/refs/branches", refList, s.listBranches)
	read("/refs/branches/{name...}", s.getBranch)
	list("/refs/tags", refList, s.listTags)
	read("/refs/tags/{name...}", s.getTag)
	read("/commit/{revision}", s.getCommit)
	list("/commits", commitList, s.listCommits)
	list("/commits/{revision...}", commitList, s.listCommits)
	list("/diffstat/{spec...}", changeList, s.getDiffstat)
	read("/diff/{spec...}", s.getDiff)
	read("/patch/{spec...}", s.getPatch)
	read("/src", s.getSourceRoot)
	read("/src/{commit}/{path...}", s.getSource)

	route("GET", "/hooks", Admin, s.paged(shortList, s.listHooks), "webhook")
	route("POST", "/hooks", Admin, s.createHook, "webhook")
	route("GET", "/hooks/{uid}", Admin, s.getHook, "webhook")
	route("PUT", "/hooks/{uid}", Admin, s.updateHook, "webhook")
	route("DELETE", "/hooks/{uid}", Admin, s.deleteHook, "webhook")

	list("/commit/{revision}/statuses", shortList, s.listStatuses)
	read("/commit/{revision}/statuses/build/{key}", s.getStatus)
	route("POST", "/commit/{revision}/statuses/build", Read, signedIn(s.postStatus), "repository")
	route("PUT", "/commit/{revision}/statuses/build/{key}", Read, signedIn(s.putStatus), "repository")

	s.pullRoutes(func(method, path string, h handler) {
		route(method, "/pullrequests"+path, Read, h, "pullrequest")
	})
	for _, e := range empty {
		route("GET", e.path, Read, s.paged(shortList, s.listNothing), e.scope)
	}
	for _, u := range unserved {
		for method := range strings.FieldsSeq(u.methods) {
			route(method, u.path, Read, s.notServed, u.scope)
		}
	}
}

func (s *Server) pullRoutes(route func(method, path string, h handler)) {
	route("GET", "", s.paged(pullList, s.listPulls))
	route("GET", "/{id}", s.onPull(s.getPull))
	route("GET", "/{id}/commits", s.paged(sourceList, s.onPull(s.listPullCommits)))
	route("GET", "/{id}/statuses", s.paged(shortList, s.onPull(s.listPullStatuses)))
	for _, kind := range []string{"diff", "diffstat", "patch"} {
		route("GET", "/{id}/"+kind, s.onPull(s.redirectPull(kind)))
	}
	route("GET", "/{id}/comments", s.paged(shortList, s.onPull(s.listComments)))
	route("POST", "/{id}/comments", s.onPull(s.createComment))
	route("GET", "/{id}/comments/{comment}", s.onPull(s.getComment))
	route("PUT", "/{id}/comments/{comment}", s.onPull(s.updateComment))
	route("DELETE", "/{id}/comments/{comment}", s.onPull(s.deleteComment))
}

// handle authenticates the caller, checks the scopes, calls h, and writes an error that h returns.
func (s *Server) handle(h handler, required []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxJSON)
		who, err := s.authenticate(r)
		if err == nil {
			left, ok := s.limit(r, who)
			s.describeCredential(w.Header(), who, required, left)
			if !ok {
				refuse(w)
				return
			}
			err = who.require(required...)
		}
		if err == nil {
			err = h(&call{w: w, r: r, who: who})
		}
		if err != nil {
			s.writeError(w, r, err)
		}
	})
}

// onRepository finds the repository in the path and checks the caller's permission. It returns 404 for a
// repository that the caller may not read.
func (s *Server) onRepository(needs Permission, h handler) handler {
	return func(c *call) error {
		repo := s.findRepository(c.r.PathValue("workspace"), c.r.PathValue("slug"))
		has := s.permission(c.who, repo)
		if has < Read {
			return notFound("You may not have access to this repository or it no longer exists in this workspace. " +
				"If you think this repository exists and you have access, make sure you are authenticated.")
		}
		if has < needs {
			if c.who.account == nil {
				return errAnonymous
			}
			return forbidden("Your credentials do not have " + needs.String() + " access to this repository.")
		}
		c.repo = repo
		return h(c)
	}
}

func signedIn(h handler) handler {
	return func(c *call) error {
		if c.who.account == nil {
			return errAnonymous
		}
		return h(c)
	}
}

// decode reads the JSON body of a call.
func (c *call) decode(v any) error {
	if err := json.NewDecoder(c.r.Body).Decode(v); err != nil {
		return badRequest("Bad request")
	}
	return nil
}

func (c *call) reply(status int, v any) error {
	writeJSON(c.w, status, v)
	return nil
}

// respond writes one object, reduced to the parameter "fields".
func (c *call) respond(v object) error {
	return c.reply(http.StatusOK, trimFields(v, c.r.URL.Query().Get("fields")))
}
