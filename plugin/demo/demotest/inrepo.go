package demotest

import (
	"net/url"
	"strings"
)

// Joining gives the automated build whose page the browser shows the engine own, and makes its
// pipeline token, through the pages.
func (env *Env) UseOwnPipeline() (automatedBuild, token string) {
	env.T.Helper()
	page, err := env.Browser.Path()
	env.Must(err)
	env.Must(env.Browser.Visit(env.Context, page+"/edit"))
	env.Must(env.Browser.Submit(env.Context, page+"/edit", url.Values{"engine": {"own"}, "then": {"save"}}))
	env.Must(env.Browser.Submit(env.Context, page+"/pipeline-token", nil))
	shown := env.Browser.After("A build that no pipeline asks for ends as failed. Token")
	const letters = 43 // of a token; a button follows it
	if len(shown) < letters {
		env.T.Fatalf("the page shows the token as %q", shown)
	}
	return page[strings.LastIndex(page, "/")+1:], shown[:letters]
}
