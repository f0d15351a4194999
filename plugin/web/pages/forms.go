package pages

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	ab "slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

// parseForm reads a posted form, which the server's middleware has bounded.
func parseForm(c *gin.Context) error {
	err := c.Request.ParseForm()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &httpx.Error{Status: http.StatusRequestEntityTooLarge, Message: "The form is too large. Make its fields shorter.", Err: err}
	case err != nil:
		return &httpx.Error{Status: http.StatusBadRequest, Message: "The form was not understood. Send it again from its page.", Err: err}
	}
	return nil
}

// accountKind names a kind of credential for people.
func accountKind(k ab.AccountKind) string {
	switch k {
	case ab.AccountOAuth:
		return "linked through OAuth"
	case ab.AccountWorkspaceToken:
		return "workspace access token"
	case ab.AccountProjectToken:
		return "project access token"
	case ab.AccountRepositoryToken:
		return "repository access token"
	}
	return string(k)
}
