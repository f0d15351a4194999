package pages

import (
	"net/http"

	ab "slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

// A Route is one page or action, and who may use it.
type Route struct {
	Method  string
	Path    string
	Role    ab.Role // empty = anybody, signed in or not
	Limited bool    // where strangers could guess: limited per address
	Handler httpx.HandlerFunc
}

const (
	get  = http.MethodGet
	post = http.MethodPost

	anybody = ab.Role("")
)

// Routes lists everything that the pages serve: who sees what is read here.
func (p *Pages) Routes() []Route {
	return []Route{
		{get, "/", anybody, false, p.home},
		{get, "/static/:file", anybody, false, p.static},
		{get, "/signin", anybody, false, p.signIn},
		{post, "/signin/token", anybody, true, p.signInByToken},
		{post, "/signout", anybody, false, p.signOut},
		{get, "/oauth/bitbucket/link", anybody, true, p.beginLink},
		{get, "/oauth/bitbucket/callback", anybody, true, p.finishLink},

		{get, "/automated-builds", ab.RoleViewer, false, p.automatedBuilds},
		{get, "/automated-builds/new", ab.RoleAdmin, false, p.newAutomated},
		{post, "/automated-builds/new", ab.RoleAdmin, false, p.createAutomated},
		{get, "/automated-builds/:id", ab.RoleViewer, false, p.automatedBuild},
		{post, "/automated-builds/:id/start", ab.RoleMember, false, p.startBuilds},
		{get, "/automated-builds/:id/edit", ab.RoleAdmin, false, p.editAutomated},
		{post, "/automated-builds/:id/edit", ab.RoleAdmin, false, p.updateAutomated},
		{post, "/automated-builds/:id/secret", ab.RoleAdmin, false, p.revealSecret},
		{post, "/automated-builds/:id/pipeline-token", ab.RoleAdmin, false, p.makePipelineToken},
		{post, "/automated-builds/:id/pipeline-token/revoke", ab.RoleAdmin, false, p.revokePipelineToken},
		{post, "/automated-builds/:id/webhook", ab.RoleAdmin, false, p.ensureHook},
		{get, "/automated-builds/:id/webhook/rotate", ab.RoleAdmin, false, p.rotateSecret},
		{post, "/automated-builds/:id/webhook/rotate", ab.RoleAdmin, false, p.rotateSecret},
		{get, "/automated-builds/:id/delete", ab.RoleAdmin, false, p.deleteAutomated},
		{post, "/automated-builds/:id/delete", ab.RoleAdmin, false, p.deleteAutomated},

		{get, "/builds", ab.RoleViewer, false, p.builds},
		{get, "/builds/:number", ab.RoleViewer, false, p.build},
		{get, "/builds/:number/pipeline", ab.RoleViewer, false, p.pipeline},
		{get, "/builds/:number/log", ab.RoleViewer, false, p.rawLog},
		{get, "/builds/:number/log/stream", ab.RoleViewer, false, p.streamLog},
		{post, "/builds/:number/cancel", ab.RoleMember, false, p.cancelBuild},
		{post, "/builds/:number/retry", ab.RoleMember, false, p.retryBuild},
		{post, "/builds/:number/rebuild", ab.RoleMember, false, p.rebuild},

		{get, "/deliveries", ab.RoleViewer, false, p.deliveries},
		{get, "/deliveries/:id", ab.RoleViewer, false, p.delivery},

		{get, "/setup", ab.RoleAdmin, false, p.setup},
		{post, "/setup/:id", ab.RoleAdmin, false, p.saveSetup},
		{get, "/settings/providers", ab.RoleViewer, false, p.providers},
		{get, "/settings/providers/:id/token", ab.RoleAdmin, false, p.newToken},
		{post, "/settings/providers/:id/token", ab.RoleAdmin, false, p.newToken},
		{get, "/settings/accounts/:id/unlink", ab.RoleAdmin, false, p.unlink},
		{post, "/settings/accounts/:id/unlink", ab.RoleAdmin, false, p.unlink},
		{get, "/settings/registries", ab.RoleViewer, false, p.registries},
		{post, "/settings/registries", ab.RoleAdmin, false, p.saveRegistry},
		{post, "/settings/registries/:id/check", ab.RoleAdmin, false, p.checkRegistry},
		{get, "/settings/registries/:id/delete", ab.RoleAdmin, false, p.deleteRegistry},
		{post, "/settings/registries/:id/delete", ab.RoleAdmin, false, p.deleteRegistry},
		{get, "/settings/engines", ab.RoleAdmin, false, p.engines},
		{post, "/settings/engines/:id/environment", ab.RoleAdmin, false, p.revealEnvironment},
		{get, "/settings/people", ab.RoleAdmin, false, p.people},
		{post, "/settings/people/:id", ab.RoleAdmin, false, p.setRole},
	}
}
