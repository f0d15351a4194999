package demotest

import (
	"net/url"
	"strings"
)

// Joining gives the automated build whose page the browser shows the engine own, and makes its
// pipeline token, through the pages.
func (h *Env) Joining() (automatedBuild, token string) {
	h.T.Helper()
	page, err := h.Browser.Path()
	h.Must(err)
	h.Must(h.Browser.Visit(h.Context, page+"/edit"))
	h.Must(h.Browser.Submit(h.Context, page+"/edit", url.Values{"engine": {"own"}, "then": {"save"}}))
	h.Must(h.Browser.Submit(h.Context, page+"/pipeline-token", nil))
	shown := h.Browser.After("A build that no pipeline asks for ends as failed. Token")
	const letters = 43 // of a token; a button follows it
	if len(shown) < letters {
		h.T.Fatalf("the page shows the token as %q", shown)
	}
	return page[strings.LastIndex(page, "/")+1:], shown[:letters]
}
