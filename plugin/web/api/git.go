package api

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/gitproxy"
	"slipway/plugin/web/httpx"
)

// Git serves fetches to runners; *gitproxy.Proxy.
type Git interface {
	// Serve writes a whole answer, or returns a *gitproxy.Refusal and has written nothing. It may
	// panic with http.ErrAbortHandler. It is safe for concurrent use.
	Serve(w http.ResponseWriter, r *http.Request) error
}

// gitPath takes everything below /git/.
const gitPath = "/git/*call"

// WriteError writes an error for a program: git's and git-lfs's in the forms that these show, and
// JSON for all others.
func WriteError(c *gin.Context, status int, message string) {
	if path := c.Request.URL.Path; gitproxy.Serves(path) {
		gitproxy.WriteError(c.Writer, path, status, message)
		return
	}
	httpx.JSON(c, status, message)
}

// git hands a request to the git proxy, which reads the request line itself: the router's decoded
// path decides nothing.
func (a *API) git(c *gin.Context) error {
	err := a.o.Git.Serve(c.Writer, c.Request)
	var refusal *gitproxy.Refusal
	if errors.As(err, &refusal) {
		if !c.Writer.Written() {
			c.Header("Connection", "close") // a refused client holds no connection
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
