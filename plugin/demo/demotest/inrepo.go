package demotest

import (
	"net/url"
	"strings"
)

// UseOwnPipeline sets the engine of an automated build to "own" and creates its pipeline token,
// through the pages. The browser must show the page of the automated build.
func (env *Env) UseOwnPipeline() (automatedBuild, token string) {
	env.T.Helper()
	page, err := env.Browser.Path()
	env.Must(err)
	env.Must(env.Browser.Visit(env.Context, page+"/edit"))
	env.Must(env.Browser.Submit(env.Context, page+"/edit", url.Values{"engine": {"own"}, "then": {"save"}}))
	env.Must(env.Browser.Submit(env.Context, page+"/pipeline-token", nil))
	shown := env.Browser.After("A build fails if no pipeline requests it. Token")
	const length = 43 // of a token; the text of a button follows it
	if len(shown) < length {
		env.T.Fatalf("got token %q on the page, want %d characters", shown, length)
	}
	return page[strings.LastIndex(page, "/")+1:], shown[:length]
}
