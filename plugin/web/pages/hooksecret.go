package pages

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/web/httpx"
)

// revealSecret shows the webhook's secret, to add the webhook by hand.
func (p *Pages) revealSecret(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	return p.redirectResult(c, "/automated-builds/"+a.ID, "h-hook", formResult{Kind: resultHookSecret})
}

// rotateSecret replaces the webhook's secret after a confirmation. If the webhook is not managed
// here, it shows the new secret so that the user can paste it at Bitbucket.
func (p *Pages) rotateSecret(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	page := "/automated-builds/" + a.ID
	ok, err := p.confirmed(c, "automated", confirmPage{
		Question: "Replace the webhook secret of " + a.Repository.FullName + "?",
		Consequence: "Slipway writes the new secret to Bitbucket. The old secret works for 24 more hours. If you added " +
			"the webhook by hand, paste the new secret in the repository's settings within that time.",
		Button: "Replace secret",
		Action: page + "/webhook/rotate",
		Back:   page,
	})
	if !ok {
		return err
	}
	rotation, err := p.Catalog.RotateSecret(c.Request.Context(), a.Repository)
	var recently *catalog.RotatedRecently
	switch {
	case errors.As(err, &recently):
		return &httpx.Error{Status: http.StatusConflict, Message: recently.Error(), Err: err}
	case err != nil:
		return fmt.Errorf("replace webhook secret of %s: %w", a.Repository.FullName, err)
	case rotation.Hook.State != autobuild.HookActive:
		return p.redirectResult(c, page, "h-hook", formResult{Kind: resultHookSecret})
	}
	return redirectDone(c, page, "rotated")
}
