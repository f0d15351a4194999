package pages_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

// rightsOfRoutes repeats the right of every route, so that no right changes by an oversight: the
// other tests of rights take them from the table of routes.
const rightsOfRoutes = `
anybody:
	GET / ; GET /static/:file ; GET /signin ; POST /signin/token ; POST /signout
	GET /oauth/bitbucket/link ; GET /oauth/bitbucket/callback
signed in:
	POST /permissions/refresh ; GET /results/:key
visible:
	GET /automated-builds ; GET /builds ; GET /deliveries
read:
	GET /automated-builds/:id ; GET /builds/:number ; GET /builds/:number/pipeline
	GET /builds/:number/log ; GET /builds/:number/log/stream ; GET /deliveries/:id
write:
	POST /automated-builds/:id/start
	POST /builds/:number/cancel ; POST /builds/:number/retry ; POST /builds/:number/rebuild
admin:
	GET /automated-builds/:id/edit ; POST /automated-builds/:id/edit
	GET /automated-builds/:id/delete ; POST /automated-builds/:id/delete
	POST /automated-builds/:id/secret ; POST /automated-builds/:id/webhook
	GET /automated-builds/:id/webhook/rotate ; POST /automated-builds/:id/webhook/rotate
	POST /automated-builds/:id/pipeline-token ; POST /automated-builds/:id/pipeline-token/revoke
installation:
	GET /automated-builds/new ; POST /automated-builds/new
	GET /setup ; POST /setup/:id
	GET /settings/providers ; GET /settings/providers/:id/token ; POST /settings/providers/:id/token
	GET /settings/accounts/:id/unlink ; POST /settings/accounts/:id/unlink
	GET /settings/registries ; POST /settings/registries ; POST /settings/registries/:id/check
	GET /settings/registries/:id/delete ; POST /settings/registries/:id/delete
	GET /settings/engines ; POST /settings/engines/:id/environment ; POST /settings/engines/:id/fix
	GET /settings/people ; POST /settings/people/:id ; POST /settings/people/:id/sessions
	GET /settings/people/:id/remove ; POST /settings/people/:id/remove
`

func TestRightsOfRoutes(t *testing.T) {
	want := map[string]pages.Right{}
	var right pages.Right
	for line := range strings.Lines(rightsOfRoutes) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok {
			right = pages.Right(name)
			continue
		}
		for route := range strings.SplitSeq(line, ";") {
			route = strings.TrimSpace(route)
			if route != "" {
				want[route] = right
			}
		}
	}
	got := map[string]pages.Right{}
	for _, r := range pagestest.Empty(t).Pages.Routes() {
		got[r.Method+" "+r.Path] = r.Needs
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rights of routes (-want +got):\n%s", diff)
	}
}
