package api

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/gitproxy"
	"slipway/plugin/web/httpx"
)

// Git serves the fetches of runners. *gitproxy.Proxy implements it.
type Git interface {
	// Serve writes a complete response, or writes nothing and returns a *gitproxy.Refusal. It may
	// panic with http.ErrAbortHandler. It is safe for concurrent use.
	Serve(w http.ResponseWriter, r *http.Request) error
}

// gitPath matches all paths below /git/.
const gitPath = "/git/*call"

// WriteError writes an error for a program: in the formats of git and git-lfs for their paths, and as
// JSON for all other paths.
func WriteError(c *gin.Context, status int, message string) {
	if path := c.Request.URL.Path; gitproxy.Serves(path) {
		gitproxy.WriteError(c.Writer, path, status, message)
		return
	}
	httpx.JSON(c, status, message)
}

// serveGit passes a request to the git proxy. The proxy parses the request line itself and ignores the
// router's decoded path.
func (a *API) serveGit(c *gin.Context) error {
	err := a.o.Git.Serve(c.Writer, c.Request)
	var refusal *gitproxy.Refusal
	if errors.As(err, &refusal) {
		if !c.Writer.Written() {
			c.Header("Connection", "close") // a rejected client keeps no connection open
		}
		return &httpx.Error{
			Status:     refusal.Status,
			Message:    refusal.Message,
			RetryAfter: refusal.RetryAfter,
			Err:        refusal,
		}
	}
	return err
}
