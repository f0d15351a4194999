package pages

import (
	"context"
	"fmt"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/logctx"
	"slipway/plugin/web/session"
)

// ownView is the part of an automated build's page about the step in the repository's own pipeline.
type ownView struct {
	Chosen   bool // the automated build has this engine
	Has      bool // a token exists
	Token    autobuild.PipelineToken
	Revealed string // the new token; empty otherwise
	// The step for the pipeline files of the CIs.
	Drone, Woodpecker string
}

// ownView returns the view of an automated build. bound means that a push credential is bound to the
// automated build. Otherwise the step needs its own login.
func (p *Pages) ownView(
	ctx context.Context,
	a autobuild.AutomatedBuild,
	bound bool,
	made secret.Secret,
) (ownView, error) {
	view := ownView{Chosen: a.Engine == inrepo.Name, Revealed: made.Reveal()}
	token, err := zeroIfNotFound(p.Store.PipelineToken(ctx, a.ID))
	if err != nil {
		return view, fmt.Errorf("pipeline token of %s: %w", a.Repository.FullName, err)
	}
	view.Token, view.Has = token, !token.CreatedAt.IsZero()
	login := stepLogin
	if bound {
		login = ""
	}
	view.Drone = fmt.Sprintf(
		step,
		"\n    privileged: true # to start a builder; not needed with the setting builder",
		p.URL,
		a.ID,
		login,
	)
	view.Woodpecker = fmt.Sprintf(
		step,
		" # must be in WOODPECKER_PLUGINS_PRIVILEGED, unless the setting builder is set",
		p.URL,
		a.ID,
		login,
	)
	return view, nil
}

// step is the pipeline step that builds an automated build.
const step = `  - name: image
    image: slipway%s
    settings:
      gateway: %s
      automated_build: %s
      token:
        from_secret: slipway_token
%s    when:
      event: [push, tag]
`

// stepLogin is the login of the step for the registry.
const stepLogin = `      username:
        from_secret: registry_username
      password:
        from_secret: registry_password
`

// makePipelineToken creates or replaces the automated build's token, and shows it once.
func (p *Pages) makePipelineToken(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	user, _ := session.User(c)
	token := autobuild.NewToken()
	if err := p.Store.SetPipelineToken(c.Request.Context(), a.ID, autobuild.TokenHash(token), user.Name); err != nil {
		return fmt.Errorf("create a pipeline token for %s: %w", a.Repository.FullName, err)
	}
	logctx.Log(c.Request.Context(), p.Log).
		WithField("automated_build", a.ID).
		WithField("by", user.Name).
		Info("pipeline token created")
	r := formResult{Kind: resultToken, Token: token.Reveal()}
	return p.redirectResult(c, "/automated-builds/"+a.ID, "h-own", r)
}

// revokePipelineToken deletes the automated build's token. Its pipelines then get no builds.
func (p *Pages) revokePipelineToken(c *gin.Context) error {
	a, err := p.findAutomated(c)
	if err != nil {
		return err
	}
	if err := p.Store.RevokePipelineToken(c.Request.Context(), a.ID); err != nil {
		return fmt.Errorf("revoke the pipeline token of %s: %w", a.Repository.FullName, err)
	}
	user, _ := session.User(c)
	logctx.Log(c.Request.Context(), p.Log).
		WithField("automated_build", a.ID).
		WithField("by", user.Name).
		Info("pipeline token revoked")
	return redirectDone(c, "/automated-builds/"+a.ID, "revoked")
}

// engineName returns the display name of an engine.
func engineName(name string) string {
	if name == inrepo.Name {
		return name + ": " + inrepo.Words
	}
	return name
}
