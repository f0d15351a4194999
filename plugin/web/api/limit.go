package api

import (
	"errors"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

// What runners may ask for. A token gets more than a build with the busiest log needs. Tokens
// that are not known cost an address its patience and nobody else's: the address that it
// shares with a good token is that of a whole CI.
const (
	tokenEvery, tokenBurst     = time.Second / 100, 300
	refusedEvery, refusedBurst = time.Second / 10, 100
	// An attempt reports its events: a heartbeat a second, and one for each of its few stages. Each
	// is a write to the database.
	eventsEvery, eventsBurst = time.Second / 5, 100
	// It asks for a permit before each tag moves: at most the 50 of its rule and 100 extra ones. Each
	// grant writes a row for each tag of the request.
	permitsEvery, permitsBurst = time.Second / 5, 200
)

// nameOf names an attempt to a limiter.
func nameOf(a autobuild.Attempt) string { return a.BuildID + "/" + strconv.Itoa(a.Number) }

// limit bounds how often one token asks, and how often an address tries tokens.
func (a *API) limit(c *gin.Context) {
	if token, err := bearer(c); err == nil {
		if err := a.tokens.Allow(autobuild.TokenHash(token)); err != nil {
			_ = c.Error(err)
			c.Abort()
			return
		}
	}
	c.Next()
	if last := c.Errors.Last(); last != nil {
		if errors.Is(last.Err, autobuild.ErrUnauthorized) {
			if err := a.refused.Allow(httpx.Client(c)); err != nil {
				_ = c.Error(err)
			}
		}
	}
}
