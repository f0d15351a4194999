package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	ab "slipway/plugin/autobuild"
)

// probe answers the step of a probe, which asks whether it reaches the gateway and has its token.
func (a *API) probe(c *gin.Context) error {
	token, err := bearer(c)
	if err != nil {
		return err
	}
	if !a.o.Probes.Know(token) {
		return ab.ErrUnauthorized
	}
	c.Status(http.StatusNoContent)
	return nil
}
