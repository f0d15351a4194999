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
	Limited bool              // limited per address, because callers could guess secrets
	Handler httpx.HandlerFunc // checks the right first
}

// A Right is the right that a route needs.
type Right string

// The rights. An administrator of the installation has all of them.
const (
	Anybody  Right = "anybody"   // no sign-in needed
	SignedIn Right = "signed in" // for routes that read no repository data
	// Visible is for lists that only show rows of repositories that the user may read.
	Visible Right = "visible"
	// Read, Write and Admin are permissions on the repository of the path.
	Read  = Right(autobuild.PermissionRead)
	Write = Right(autobuild.PermissionWrite)
	Admin = Right(autobuild.PermissionAdmin)
	// Installation is for administrators of the installation only.
	Installation Right = "installation"
)

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// A repositoryFinder returns the repository of a request's path. It returns ErrNotFound if the user
// may not read it.
type repositoryFinder func(ctx context.Context, v View, c *gin.Context) (autobuild.Repository, error)

// entry is a line of the table of routes.
type entry struct {
	method, path string
	needs        Right
	of           repositoryFinder // of Read, Write and Admin; nil otherwise
	handler      httpx.HandlerFunc
}

// Routes returns all routes of the pages. Each handler checks the right of its route.
func (p *Pages) Routes() []Route {
	var routes []Route
	for _, e := range p.table() {
		limited := e.path == "/signin/token" || e.path == "/oauth/bitbucket/link" ||
			e.path == "/oauth/bitbucket/callback"
		if e.method == post && creates(e.path) {
			e.handler = p.once(e.handler)
		}
		routes = append(
			routes,
			Route{Method: e.method, Path: e.path, Needs: e.needs, Limited: limited, Handler: p.guard(e)},
		)
	}
	return routes
}

// table returns all routes with their rights.
func (p *Pages) table() []entry {
	return []entry{
		{get, "/", Anybody, nil, p.redirectHome},
		{get, "/static/:file", Anybody, nil, p.serveStatic},
		{get, "/signin", Anybody, nil, p.showSignIn},
		{post, "/signin/token", Anybody, nil, p.signInByToken},
		{post, "/signout", Anybody, nil, p.signOut},
		{get, "/oauth/bitbucket/link", Anybody, nil, p.beginLink},
		{get, "/oauth/bitbucket/callback", Anybody, nil, p.finishLink},
		{post, "/permissions/refresh", SignedIn, nil, p.refreshPermissions},
		{get, resultsPath + ":key", SignedIn, nil, p.showResult},

		{get, "/automated-builds", Visible, nil, p.showAutomatedBuilds},
		{get, "/automated-builds/new", Installation, nil, p.showNewAutomated},
		{post, "/automated-builds/new", Installation, nil, p.createAutomated},
		{get, "/automated-builds/:id", Read, automatedBuildRepository, p.showAutomatedBuild},
		{post, "/automated-builds/:id/start", Write, automatedBuildRepository, p.startBuilds},
		{get, "/automated-builds/:id/edit", Admin, automatedBuildRepository, p.editAutomated},
		{post, "/automated-builds/:id/edit", Admin, automatedBuildRepository, p.updateAutomated},
		{post, "/automated-builds/:id/secret", Admin, automatedBuildRepository, p.revealSecret},
		{post, "/automated-builds/:id/pipeline-token", Admin, automatedBuildRepository, p.makePipelineToken},
		{post, "/automated-builds/:id/pipeline-token/revoke", Admin, automatedBuildRepository, p.revokePipelineToken},
		{post, "/automated-builds/:id/webhook", Admin, automatedBuildRepository, p.ensureHook},
		{get, "/automated-builds/:id/webhook/rotate", Admin, automatedBuildRepository, p.rotateSecret},
		{post, "/automated-builds/:id/webhook/rotate", Admin, automatedBuildRepository, p.rotateSecret},
		{get, "/automated-builds/:id/delete", Admin, automatedBuildRepository, p.deleteAutomated},
		{post, "/automated-builds/:id/delete", Admin, automatedBuildRepository, p.deleteAutomated},

		{get, "/builds", Visible, nil, p.showBuilds},
		{get, "/builds/:number", Read, buildRepository, p.showBuild},
		{get, "/builds/:number/pipeline", Read, buildRepository, p.redirectToPipeline},
		{get, "/builds/:number/log", Read, buildRepository, p.sendRawLog},
		{get, "/builds/:number/log/stream", Read, buildRepository, p.streamLog},
		{post, "/builds/:number/cancel", Write, buildRepository, p.cancelBuild},
		{post, "/builds/:number/retry", Write, buildRepository, p.retryBuild},
		{post, "/builds/:number/rebuild", Write, buildRepository, p.rebuild},

		{get, "/deliveries", Visible, nil, p.showDeliveries},
		{get, "/deliveries/:id", Read, deliveryRepository, p.showDelivery},

		{get, "/setup", Installation, nil, p.showSetup},
		{post, "/setup/:id", Installation, nil, p.saveSetup},
		{get, "/settings/providers", Installation, nil, p.showProviders},
		{get, "/settings/providers/:id/token", Installation, nil, p.addToken},
		{post, "/settings/providers/:id/token", Installation, nil, p.addToken},
		{get, "/settings/accounts/:id/unlink", Installation, nil, p.unlink},
		{post, "/settings/accounts/:id/unlink", Installation, nil, p.unlink},
		{get, "/settings/registries", Installation, nil, p.showRegistries},
		{post, "/settings/registries", Installation, nil, p.saveRegistry},
		{post, "/settings/registries/:id/check", Installation, nil, p.checkRegistry},
		{get, "/settings/registries/:id/delete", Installation, nil, p.deleteRegistry},
		{post, "/settings/registries/:id/delete", Installation, nil, p.deleteRegistry},
		{get, "/settings/engines", Installation, nil, p.showEngines},
		{post, "/settings/engines/:id/environment", Installation, nil, p.revealEnvironment},
		{post, "/settings/engines/:id/fix", Installation, nil, p.fixEngine},
		{get, "/settings/people", Installation, nil, p.showPeople},
		{post, "/settings/people/:id", Installation, nil, p.setRole},
		{post, "/settings/people/:id/sessions", Installation, nil, p.endSessions},
		{get, "/settings/people/:id/remove", Installation, nil, p.removePerson},
		{post, "/settings/people/:id/remove", Installation, nil, p.removePerson},
	}
}
