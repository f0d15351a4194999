package pages

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

// A Route is one page or action, and the right that it needs.
type Route struct {
	Method  string
	Path    string
	Needs   Right
	Limited bool              // limited per address: where callers could guess
	Handler httpx.HandlerFunc // checks the right first
}

// A Right says who may use a route.
type Right string

// The rights. An administrator of the installation has all of them.
const (
	Anybody  Right = "anybody"   // signed in or not
	SignedIn Right = "signed in" // reads nothing of repositories
	// Visible is for lists: they show only what belongs to repositories that the person may read.
	Visible Right = "visible"
	// Read, Write and Admin are permissions on the repository that the path leads to.
	Read  = Right(autobuild.PermissionRead)
	Write = Right(autobuild.PermissionWrite)
	Admin = Right(autobuild.PermissionAdmin)
	// Installation is for administrators of the installation alone.
	Installation Right = "installation"
)

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// A place finds the repository that a request's path leads to, as a person sees it.
type place func(ctx context.Context, v View, c *gin.Context) (autobuild.Repository, error)

// entry is a line of the table of routes.
type entry struct {
	method, path string
	needs        Right
	of           place // of Read, Write and Admin; nil otherwise
	handler      httpx.HandlerFunc
}

// Routes lists everything that the pages serve. Each handler checks the right of its route.
func (p *Pages) Routes() []Route {
	var routes []Route
	for _, e := range p.table() {
		limited := e.path == "/signin/token" || e.path == "/oauth/bitbucket/link" ||
			e.path == "/oauth/bitbucket/callback"
		routes = append(
			routes,
			Route{Method: e.method, Path: e.path, Needs: e.needs, Limited: limited, Handler: p.guard(e)},
		)
	}
	return routes
}

// table says who may do what: it is the one place that does.
func (p *Pages) table() []entry {
	return []entry{
		{get, "/", Anybody, nil, p.home},
		{get, "/static/:file", Anybody, nil, p.static},
		{get, "/signin", Anybody, nil, p.signIn},
		{post, "/signin/token", Anybody, nil, p.signInByToken},
		{post, "/signout", Anybody, nil, p.signOut},
		{get, "/oauth/bitbucket/link", Anybody, nil, p.beginLink},
		{get, "/oauth/bitbucket/callback", Anybody, nil, p.finishLink},
		{post, "/permissions/refresh", SignedIn, nil, p.refreshPermissions},

		{get, "/automated-builds", Visible, nil, p.automatedBuilds},
		{get, "/automated-builds/new", Installation, nil, p.newAutomated},
		{post, "/automated-builds/new", Installation, nil, p.createAutomated},
		{get, "/automated-builds/:id", Read, automatedBuildPlace, p.automatedBuild},
		{post, "/automated-builds/:id/start", Write, automatedBuildPlace, p.startBuilds},
		{get, "/automated-builds/:id/edit", Admin, automatedBuildPlace, p.editAutomated},
		{post, "/automated-builds/:id/edit", Admin, automatedBuildPlace, p.updateAutomated},
		{post, "/automated-builds/:id/secret", Admin, automatedBuildPlace, p.revealSecret},
		{post, "/automated-builds/:id/pipeline-token", Admin, automatedBuildPlace, p.makePipelineToken},
		{post, "/automated-builds/:id/pipeline-token/revoke", Admin, automatedBuildPlace, p.revokePipelineToken},
		{post, "/automated-builds/:id/webhook", Admin, automatedBuildPlace, p.ensureHook},
		{get, "/automated-builds/:id/webhook/rotate", Admin, automatedBuildPlace, p.rotateSecret},
		{post, "/automated-builds/:id/webhook/rotate", Admin, automatedBuildPlace, p.rotateSecret},
		{get, "/automated-builds/:id/delete", Admin, automatedBuildPlace, p.deleteAutomated},
		{post, "/automated-builds/:id/delete", Admin, automatedBuildPlace, p.deleteAutomated},

		{get, "/builds", Visible, nil, p.builds},
		{get, "/builds/:number", Read, buildPlace, p.build},
		{get, "/builds/:number/pipeline", Read, buildPlace, p.pipeline},
		{get, "/builds/:number/log", Read, buildPlace, p.rawLog},
		{get, "/builds/:number/log/stream", Read, buildPlace, p.streamLog},
		{post, "/builds/:number/cancel", Write, buildPlace, p.cancelBuild},
		{post, "/builds/:number/retry", Write, buildPlace, p.retryBuild},
		{post, "/builds/:number/rebuild", Write, buildPlace, p.rebuild},

		{get, "/deliveries", Visible, nil, p.deliveries},
		{get, "/deliveries/:id", Read, deliveryPlace, p.delivery},

		{get, "/setup", Installation, nil, p.setup},
		{post, "/setup/:id", Installation, nil, p.saveSetup},
		{get, "/settings/providers", Installation, nil, p.providers},
		{get, "/settings/providers/:id/token", Installation, nil, p.newToken},
		{post, "/settings/providers/:id/token", Installation, nil, p.newToken},
		{get, "/settings/accounts/:id/unlink", Installation, nil, p.unlink},
		{post, "/settings/accounts/:id/unlink", Installation, nil, p.unlink},
		{get, "/settings/registries", Installation, nil, p.registries},
		{post, "/settings/registries", Installation, nil, p.saveRegistry},
		{post, "/settings/registries/:id/check", Installation, nil, p.checkRegistry},
		{get, "/settings/registries/:id/delete", Installation, nil, p.deleteRegistry},
		{post, "/settings/registries/:id/delete", Installation, nil, p.deleteRegistry},
		{get, "/settings/engines", Installation, nil, p.engines},
		{post, "/settings/engines/:id/environment", Installation, nil, p.revealEnvironment},
		{get, "/settings/people", Installation, nil, p.people},
		{post, "/settings/people/:id", Installation, nil, p.setRole},
		{post, "/settings/people/:id/sessions", Installation, nil, p.endSessions},
		{get, "/settings/people/:id/remove", Installation, nil, p.removePerson},
		{post, "/settings/people/:id/remove", Installation, nil, p.removePerson},
	}
}
