package pages

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	ab "slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/session"
)

type peoplePage struct {
	Rows  []personRow
	Roles []option
}

type personRow struct {
	ab.User
	Provider string
	Self     bool
}

// roles says what each role may do.
var roles = []option{
	{string(ab.RoleNone), "none: sees nothing"},
	{string(ab.RoleViewer), "viewer: sees"},
	{string(ab.RoleMember), "member: starts, cancels, retries"},
	{string(ab.RoleAdmin), "admin: creates, edits, deletes, links"},
}

// people lists who signed in, with their roles.
func (p *Pages) people(c *gin.Context) error {
	ctx := c.Request.Context()
	users, err := p.Store.Users(ctx)
	if err != nil {
		return fmt.Errorf("list users: %w", err)
	}
	providers, err := p.Store.Providers(ctx)
	if err != nil {
		return fmt.Errorf("list source providers: %w", err)
	}
	names := map[string]string{}
	for _, provider := range providers {
		names[provider.ID] = provider.Name
	}
	self, _ := session.User(c)
	content := peoplePage{Roles: roles}
	for _, u := range users {
		content.Rows = append(content.Rows, personRow{u, names[u.ProviderID], u.ID == self.ID})
	}
	return p.show(c, http.StatusOK, "people", frame{Title: "People", Nav: "settings", Content: content})
}

// setRole gives a user a role. Nobody changes their own, so that an administrator remains.
func (p *Pages) setRole(c *gin.Context) error {
	user, err := p.Store.User(c.Request.Context(), c.Param("id"))
	if err != nil {
		return fmt.Errorf("user %q: %w", c.Param("id"), err)
	}
	if self, _ := session.User(c); self.ID == user.ID {
		return &httpx.Error{Status: http.StatusConflict, Message: "Nobody changes their own role. Ask another administrator."}
	}
	role := ab.Role(c.PostForm("role"))
	for _, known := range roles {
		if known.Value != string(role) {
			continue
		}
		user.Role = role
		if _, err := p.Store.SaveUser(c.Request.Context(), user); err != nil {
			return fmt.Errorf("save user %s: %w", user.Name, err)
		}
		return done(c, "/settings/people", "saved")
	}
	return &httpx.Error{Status: http.StatusUnprocessableEntity, Message: fmt.Sprintf("There is no role %q. Choose one of the list.", role)}
}
