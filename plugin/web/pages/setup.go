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
)

// A setupPage shows the steps from a new installation to the first automated build.
type setupPage struct {
	Provider  autobuild.Provider
	Providers []autobuild.Provider
	Callback  string
	ClientID  string
	Link      string
	Accounts  []accountView
	Any       bool // an account is linked
	Built     bool // there is an automated build
}

// showSetup shows the steps at Bitbucket, and the form for the consumer's key and secret.
func (p *Pages) showSetup(c *gin.Context) error {
	return p.renderSetup(c, http.StatusOK, c.Query("provider"), "", nil)
}

func (p *Pages) renderSetup(c *gin.Context, status int, providerID, clientID string, invalid faults) error {
	views, err := p.providerViews(c)
	if err != nil {
		return err
	}
	content := setupPage{Callback: p.Accounts.CallbackURL()}
	for i, v := range views {
		content.Providers = append(content.Providers, v.Provider)
		if v.ID == providerID || (providerID == "" && i == 0) {
			content.Provider, content.Accounts, content.ClientID = v.Provider, v.Accounts, v.ClientID
		}
	}
	if content.Provider.ID == "" {
		return fmt.Errorf("source provider %q: %w", providerID, autobuild.ErrNotFound)
	}
	if invalid != nil {
		content.ClientID = clientID
	}
	if content.Provider.Configured() {
		content.Link = linkURL(content.Provider.ID, "/setup")
	}
	content.Any = len(content.Accounts) > 0
	content.Built, err = p.Store.HasAutomatedBuilds(c.Request.Context())
	if err != nil {
		return err
	}
	return p.show(c, status, "setup", frame{Title: "Setup", Nav: "settings", Faults: invalid, Content: content})
}

// consumerFaults returns the invalid field of a consumer that the provider does not accept, or that could not be
// checked. It is nil for an accepted consumer.
func consumerFaults(err error) faults {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, autobuild.ErrUnauthorized), errors.Is(err, accounts.ErrNotConfigured):
		return faults{
			{
				Field: "client_id",
				Message: "Bitbucket does not accept this key and secret, so they are not saved: copy both from the consumer " +
					"at Bitbucket again, and check that it is a private consumer with a callback URL",
			},
		}
	}
	return faults{{
		Field:   "client_id",
		Message: "Bitbucket does not respond, so the key and secret could not be checked and are not saved: try again",
	}}
}

// saveSetup checks the OAuth consumer's key and secret at the provider and stores them. An empty secret keeps
// the stored one. If the provider does not accept them, the stored ones stay.
func (p *Pages) saveSetup(c *gin.Context) error {
	provider, err := p.Store.Provider(c.Request.Context(), c.Param("id"))
	if err != nil {
		return fmt.Errorf("provider %q: %w", c.Param("id"), err)
	}
	key, typed := strings.TrimSpace(c.PostForm("client_id")), strings.TrimSpace(c.PostForm("client_secret"))
	var invalid faults
	if key == "" {
		invalid.add("client_id", "enter the consumer's key")
	}
	if typed == "" && (provider.ClientSecret.IsZero() || key != provider.ClientID) {
		invalid.add("client_secret", "enter the consumer's secret")
	}
	if invalid != nil {
		return p.renderSetup(c, http.StatusUnprocessableEntity, provider.ID, key, invalid)
	}
	provider.ClientID = key
	if typed != "" {
		provider.ClientSecret = secret.New(typed)
	}
	if invalid := consumerFaults(p.Accounts.ProviderReady(c.Request.Context(), provider)); invalid != nil {
		return p.renderSetup(c, http.StatusUnprocessableEntity, provider.ID, key, invalid)
	}
	if _, err := p.Store.SaveProvider(c.Request.Context(), provider); err != nil {
		return fmt.Errorf("save source provider %s: %w", provider.Name, err)
	}
	return redirectDone(c, "/setup", "saved")
}
