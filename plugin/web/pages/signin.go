package pages

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/session"
)

type signInPage struct {
	Providers []providerLink
	First     bool // no administrator can sign in at a provider yet
	ReturnTo  string
}

type providerLink struct {
	autobuild.Provider
	Link string
}

// redirectHome redirects to the automated builds.
func (p *Pages) redirectHome(c *gin.Context) error {
	c.Redirect(http.StatusSeeOther, "/automated-builds")
	return nil
}

// showSignIn shows the sign-in page.
func (p *Pages) showSignIn(c *gin.Context) error {
	return p.renderSignIn(c, http.StatusOK, nil)
}

func (p *Pages) renderSignIn(c *gin.Context, status int, invalid faults) error {
	providers, err := p.Store.Providers(c.Request.Context())
	if err != nil {
		return fmt.Errorf("list source providers: %w", err)
	}
	users, err := p.Store.Users(c.Request.Context())
	if err != nil {
		return fmt.Errorf("list users: %w", err)
	}
	content := signInPage{First: true, ReturnTo: returnTo(c)}
	for _, u := range users {
		content.First = content.First && (u.Role != autobuild.RoleAdmin || u.RemoteID == "")
	}
	for _, provider := range providers {
		if provider.Configured() {
			content.Providers = append(
				content.Providers,
				providerLink{provider, linkURL(provider.ID, content.ReturnTo)},
			)
		}
	}
	return p.show(c, status, "signin", frame{Title: "Sign in", Faults: invalid, Content: content})
}

// returnTo returns the page to open after the sign-in. It is always a path on this server.
func returnTo(c *gin.Context) string {
	asked := c.Query("return_to")
	if asked == "" {
		asked = c.PostForm("return_to")
	}
	return accounts.LocalPath(asked)
}

// firstTokenMessage is the error for a wrong, used or expired one-time token.
const firstTokenMessage = "this token is wrong, already used, or older than a day. Restart the gateway to get a " +
	"new one. It prints tokens until an administrator has linked an account"

// signInByToken signs the first administrator in with the one-time token. It shows the same error for
// a wrong, used and expired token.
func (p *Pages) signInByToken(c *gin.Context) error {
	token := secret.New(strings.TrimSpace(c.PostForm("token")))
	user, err := p.Store.TakeFirstToken(c.Request.Context(), autobuild.TokenHash(token))
	if errors.Is(err, autobuild.ErrNotFound) {
		return p.renderSignIn(c, http.StatusGone, faults{{Field: "token", Message: firstTokenMessage}})
	}
	if err != nil {
		return fmt.Errorf("take the first administrator's token: %w", err)
	}
	if err := p.Sessions.Start(c, user.ID, autobuild.Grant{}); err != nil {
		return err
	}
	where := returnTo(c)
	if where == "/" {
		where = "/setup"
	}
	c.Redirect(http.StatusSeeOther, where)
	return nil
}

// signOut ends the session.
func (p *Pages) signOut(c *gin.Context) error {
	if err := p.Sessions.End(c); err != nil {
		return err
	}
	return redirectDone(c, "/signin", "signed-out")
}

// beginLink redirects to the provider, to link an account of the signed-in user, or to sign in.
func (p *Pages) beginLink(c *gin.Context) error {
	user, signed := session.User(c)
	if signed && !administers(user) {
		return &httpx.Error{
			Status: http.StatusForbidden,
			Message: fmt.Sprintf(
				"You are signed in as %s. Only administrators can link accounts.",
				user.Name,
			),
		}
	}
	if signed {
		// A wrong key ends on a page of Bitbucket that does not lead back. Without a sign-in the check is left out,
		// so that nobody can make the gateway send requests.
		if err := p.checkConsumer(c, c.Query("provider")); err != nil {
			return err
		}
	}
	target, err := p.Accounts.BeginLink(
		c.Request.Context(),
		c.Query("provider"),
		user.ID,
		p.Sessions.Browser(c),
		returnTo(c),
	)
	if err != nil {
		return linkError(err)
	}
	c.Redirect(http.StatusSeeOther, target)
	return nil
}

// checkConsumer returns an error if the provider rejects its OAuth consumer. It returns nil if that is unknown.
func (p *Pages) checkConsumer(c *gin.Context, providerID string) error {
	provider, err := p.Store.Provider(c.Request.Context(), providerID)
	if err != nil || !provider.Configured() {
		return nil //nolint:nilerr // BeginLink reports it
	}
	err = p.Accounts.ProviderReady(c.Request.Context(), provider)
	if errors.Is(err, autobuild.ErrUnauthorized) {
		return linkError(fmt.Errorf("%w: %w", accounts.ErrNotConfigured, err))
	}
	return nil
}

// finishLink handles the redirect back from the provider.
// Source: https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2
func (p *Pages) finishLink(c *gin.Context) error {
	browser := p.Sessions.TakeBrowser(c)
	if c.Query("error") != "" {
		return &httpx.Error{
			Status:  http.StatusBadRequest,
			Message: "Bitbucket did not grant access, so nothing was linked. Start again and choose Grant access at Bitbucket.",
		}
	}
	state, code := c.Query("state"), c.Query("code")
	if state == "" || code == "" || browser == "" {
		return errStaleLink(nil)
	}
	linked, err := p.Accounts.Finish(c.Request.Context(), state, code, browser)
	if err != nil {
		return linkError(err)
	}
	// Always start a new session: linking may have changed the user.
	if err := p.Sessions.Start(c, linked.User.ID, linked.Grant); err != nil {
		return err
	}
	where := accounts.LocalPath(linked.ReturnTo)
	if linked.SignedIn {
		c.Redirect(http.StatusSeeOther, where)
		return nil
	}
	// If the account was linked before, add the webhooks of its automated builds again.
	if err := p.Catalog.RestoreHooks(c.Request.Context(), linked.Account.ID); err != nil {
		logctx.Log(c.Request.Context(), p.Log).
			WithError(err).
			WithField("account", linked.Account.ID).
			Warn("account linked, but some webhooks are missing")
	}
	return redirectDone(c, withoutQuery(where), "linked")
}

// linkError maps an error of linking to a message with the fix.
func linkError(err error) error {
	switch {
	case errors.Is(err, accounts.ErrFlow):
		return errStaleLink(err)
	case errors.Is(err, accounts.ErrDenied):
		return &httpx.Error{
			Status:  http.StatusBadRequest,
			Message: "Bitbucket did not grant access, so nothing was linked. Start again and choose Grant access at Bitbucket.",
			Err:     err,
		}
	case errors.Is(err, accounts.ErrIdentityTaken):
		return &httpx.Error{
			Status:  http.StatusConflict,
			Message: "This Bitbucket account belongs to another user. Sign in with it, or link another account.",
			Err:     err,
		}
	case errors.Is(err, accounts.ErrNotConfigured):
		return &httpx.Error{
			Status: http.StatusConflict,
			Message: "Bitbucket does not accept the OAuth consumer's key and secret. An administrator can enter them again " +
				"under Settings → OAuth consumer. If no administrator can sign in, set SLIPWAY_BITBUCKET_CLIENT_ID and " +
				"SLIPWAY_BITBUCKET_CLIENT_SECRET at the gateway and restart it.",
			Err: err,
		}
	}
	return fmt.Errorf("link an account: %w", err)
}

func errStaleLink(err error) error {
	return &httpx.Error{
		Status: http.StatusBadRequest,
		Err:    err,
		Message: "This link was started in another browser, is older than ten minutes, or was used already. Nothing was " +
			"linked. Start again.",
	}
}

func withoutQuery(where string) string {
	route, _, _ := strings.Cut(where, "?")
	return route
}
