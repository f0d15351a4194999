package api

import (
	"bytes"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

// serveProbe handles the request of a probe's step, which checks that it reaches the gateway with its
// token. The response holds the client certificate for the builder.
func (a *API) serveProbe(c *gin.Context) error {
	token, err := bearerToken(c)
	if err != nil {
		return err
	}
	engine, ok := a.o.Probes.Verify(token)
	if !ok {
		return autobuild.ErrUnauthorized
	}
	var body bytes.Buffer
	if err := spec.EncodeProbe(&body, spec.ProbeReply{BuilderTLS: a.o.Specs.BuilderTLS(engine)}); err != nil {
		return err
	}
	c.Header("Cache-Control", "no-store")
	c.Data(http.StatusOK, "application/json", body.Bytes())
	return nil
}
