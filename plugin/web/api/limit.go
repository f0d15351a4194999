package api

import (
	"errors"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

// Rate limits of runners. The limit of a token is higher than a build with a very busy log needs.
// Unknown tokens count only against their address, and valid tokens from the same address are not
// affected, because all runners of a CI may share one address.
const (
	tokenEvery, tokenBurst       = time.Second / 100, 300
	rejectedEvery, rejectedBurst = time.Second / 10, 100
	// An attempt reports events: one heartbeat a second, and two events for each of its few stages.
	// Each report is a write to the database.
	eventsEvery, eventsBurst = time.Second / 5, 100
	// An attempt requests a permit before it moves a tag. It has at most 50 tags of its rule and 100
	// extra tags. Each permit writes a row for each tag of the request.
	permitsEvery, permitsBurst = time.Second / 5, 200
)

// nameOf returns an attempt's key in a limiter, for example "id/1".
func nameOf(a autobuild.Attempt) string { return a.BuildID + "/" + strconv.Itoa(a.Number) }

// limit limits the requests of each token, and the requests with invalid tokens of each address.
func (a *API) limit(c *gin.Context) {
	if token, err := bearerToken(c); err == nil {
		if err := a.tokens.Allow(autobuild.TokenHash(token)); err != nil {
			_ = c.Error(err)
			c.Abort()
			return
		}
	}
	c.Next()
	if last := c.Errors.Last(); last != nil {
		if errors.Is(last.Err, autobuild.ErrUnauthorized) {
			if err := a.rejected.Allow(httpx.Client(c)); err != nil {
				_ = c.Error(err)
			}
		}
	}
}
