package tenanttest

import (
	"slices"
	"strings"
)

// The kinds of routes: the response to a tenant that uses the IDs of the other tenant.
const (
	// hidden routes show or change one object: the response is the same as for an unknown object.
	hidden = "hidden"
	// list routes show the objects of the tenant, and none of the other tenant.
	list = "list"
	// admin routes are for administrators of the installation.
	admin = "admin"
	// public routes need no session.
	public = "public"
	// person routes need only a session.
	person = "person"
	// program routes take a token, and no session.
	program = "program"
)

// routesByKind returns every route of the gateway, and some of later versions.
func routesByKind() map[string][]string {
	return map[string][]string{
		public: {
			"GET /",
			"GET /static/:file",
			"GET /signin",
			"POST /signin/token",
			"POST /signout",
			"GET /oauth/bitbucket/link",
			"GET /oauth/bitbucket/callback",
			"GET /healthz",
			"GET /readyz",
		},
		person: {
			"POST /permissions/refresh",
		},
		list: {
			"GET /automated-builds",
			"GET /builds",
			"GET /deliveries",
		},
		hidden: {
			"GET /automated-builds/:id",
			"POST /automated-builds/:id/start",
			"GET /automated-builds/:id/edit",
			"POST /automated-builds/:id/edit",
			"POST /automated-builds/:id/secret",
			"POST /automated-builds/:id/pipeline-token",
			"POST /automated-builds/:id/pipeline-token/revoke",
			"POST /automated-builds/:id/webhook",
			"GET /automated-builds/:id/webhook/rotate",
			"POST /automated-builds/:id/webhook/rotate",
			"GET /automated-builds/:id/delete",
			"POST /automated-builds/:id/delete",
			"GET /builds/:number",
			"GET /builds/:number/pipeline",
			"GET /builds/:number/log",
			"GET /builds/:number/log/stream",
			"POST /builds/:number/cancel",
			"POST /builds/:number/retry",
			"POST /builds/:number/rebuild",
			"GET /deliveries/:id",
			"GET /results/:key",
		},
		admin: {
			"GET /automated-builds/new",
			"POST /automated-builds/new",
			"GET /setup",
			"POST /setup/:id",
			"GET /settings/providers",
			"GET /settings/providers/:id/token",
			"POST /settings/providers/:id/token",
			"GET /settings/accounts/:id/unlink",
			"POST /settings/accounts/:id/unlink",
			"GET /settings/registries",
			"POST /settings/registries",
			"POST /settings/registries/:id/check",
			"GET /settings/registries/:id/delete",
			"POST /settings/registries/:id/delete",
			"GET /settings/engines",
			"POST /settings/engines/:id/environment",
			"POST /settings/engines/:id/fix",
			"GET /settings/people",
			"POST /settings/people/:id",
			"POST /settings/people/:id/sessions",
			"GET /settings/people/:id/remove",
			"POST /settings/people/:id/remove",
		},
		program: {
			"POST /hooks/bitbucket/:id",
			"POST /runner/v1/probe",
			"POST /runner/v1/builds/:id/claim",
			"POST /runner/v1/builds/:id/events",
			"POST /runner/v1/builds/:id/log",
			"POST /runner/v1/builds/:id/permit",
			"POST /runner/v1/builds/:id/finish",
			"POST /runner/v1/automated/:id/join",
			"GET /metrics",
		},
	}
}

// kindOf returns the kind of a route, or "" if it has none yet. The calls of CIs and of git are
// one entry each, with any method.
func kindOf(route string) string {
	_, path, _ := strings.Cut(route, " ")
	if strings.HasPrefix(path, "/extensions/") || strings.HasPrefix(path, gitPrefix) {
		return program
	}
	for kind, routes := range routesByKind() {
		if slices.Contains(routes, route) {
			return kind
		}
	}
	return ""
}
