package pages

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

// parseForm reads a posted form. Middleware limits its size.
func parseForm(c *gin.Context) error {
	err := c.Request.ParseForm()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &httpx.Error{
			Status:  http.StatusRequestEntityTooLarge,
			Message: "The form is too large. Make its fields shorter.",
			Err:     err,
		}
	case err != nil:
		return &httpx.Error{
			Status:  http.StatusBadRequest,
			Message: "The form could not be read. Open its page and send it again.",
			Err:     err,
		}
	}
	return nil
}

// accountKind returns the display name of a kind of account.
func accountKind(k autobuild.AccountKind) string {
	switch k {
	case autobuild.AccountOAuth:
		return "linked through OAuth"
	case autobuild.AccountWorkspaceToken:
		return "workspace access token"
	case autobuild.AccountProjectToken:
		return "project access token"
	case autobuild.AccountRepositoryToken:
		return "repository access token"
	}
	return string(k)
}
