package pages

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/session"
)

type peoplePage struct {
	Rows  []personRow
	Roles []option
}

type personRow struct {
	autobuild.User
	Provider string
	Self     bool
	Sessions int // signed-in browsers
}

// roles are the options for a person's role.
var roles = []option{{string(autobuild.RoleNone), "none"}, {string(autobuild.RoleAdmin), "admin"}}

// showPeople lists all users with their roles.
func (p *Pages) showPeople(c *gin.Context) error {
	ctx := c.Request.Context()
	users, err := p.Store.Users(ctx)
	if err != nil {
		return fmt.Errorf("list users: %w", err)
	}
	sessions, err := p.Store.SessionCounts(ctx)
	if err != nil {
		return err
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
		content.Rows = append(content.Rows, personRow{u, names[u.ProviderID], u.ID == self.ID, sessions[u.ID]})
	}
	return p.show(c, http.StatusOK, "people", frame{Title: "People", Nav: "settings", Content: content})
}

// anotherUser returns the user in the path. It rejects the signed-in administrator with the given
// message, so that at least one administrator remains.
func (p *Pages) anotherUser(c *gin.Context, message string) (autobuild.User, error) {
	user, err := p.Store.User(c.Request.Context(), c.Param("id"))
	if err != nil {
		return user, fmt.Errorf("user %q: %w", c.Param("id"), err)
	}
	if self, _ := session.User(c); self.ID == user.ID {
		return user, &httpx.Error{
			Status:  http.StatusConflict,
			Message: message,
		}
	}
	return user, nil
}

// setRole sets the role of a user.
func (p *Pages) setRole(c *gin.Context) error {
	user, err := p.anotherUser(c, "You cannot change your own role. Ask another administrator.")
	if err != nil {
		return err
	}
	role := autobuild.Role(c.PostForm("role"))
	for _, known := range roles {
		if known.Value != string(role) {
			continue
		}
		if err := p.Store.SetRole(c.Request.Context(), user.ID, role); err != nil {
			return fmt.Errorf("set role of %s: %w", user.Name, err)
		}
		p.logPerson(c, user, "role set to "+string(role))
		return redirectDone(c, "/settings/people", "saved")
	}
	return &httpx.Error{
		Status:  http.StatusUnprocessableEntity,
		Message: fmt.Sprintf("Unknown role %q. Choose a role from the list.", role),
	}
}

// endSessions ends all sessions of a user.
func (p *Pages) endSessions(c *gin.Context) error {
	user, err := p.anotherUser(c, "You cannot end your own sessions here. Sign out instead.")
	if err != nil {
		return err
	}
	if err := p.Store.EndSessions(c.Request.Context(), user.ID); err != nil {
		return fmt.Errorf("end the sessions of %s: %w", user.Name, err)
	}
	p.logPerson(c, user, "sessions ended")
	return redirectDone(c, "/settings/people", "ended")
}

// removePerson removes a user after a confirmation.
func (p *Pages) removePerson(c *gin.Context) error {
	user, err := p.anotherUser(c, "You cannot remove yourself. Ask another administrator.")
	if err != nil {
		return err
	}
	name := user.Name
	if name == "" {
		name = "administrator"
	}
	ok, err := p.confirmed(c, "settings", confirmPage{
		Question: "Remove " + name + "?",
		Consequence: "This ends their sessions and removes their role. They can sign in with Bitbucket again, without a " +
			"role.",
		Name:   name,
		Button: "Remove person",
		Action: "/settings/people/" + user.ID + "/remove",
		Back:   "/settings/people",
	})
	if !ok {
		return err
	}
	err = p.Store.DeleteUser(c.Request.Context(), user.ID)
	if errors.Is(err, autobuild.ErrConflict) {
		return &httpx.Error{
			Status: http.StatusConflict, Err: err,
			Message: name + " owns a linked account. Unlink it under Settings → Source providers first.",
		}
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	p.logPerson(c, user, "person removed")
	return redirectDone(c, "/settings/people", "removed")
}

func (p *Pages) logPerson(c *gin.Context, user autobuild.User, what string) {
	self, _ := session.User(c)
	logctx.Log(c.Request.Context(), p.Log).WithField("user", user.ID).WithField("by", self.Name).Info(what)
}
