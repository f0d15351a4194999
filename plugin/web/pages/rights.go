package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/session"
)

// permissionKey is the context key of the permission on the page's repository.
const permissionKey = "slipway.permission"

// guard returns a handler that first checks the right of its route. If the user may not read a
// repository, it returns the same error as for an unknown one.
func (p *Pages) guard(e entry) httpx.HandlerFunc {
	return func(c *gin.Context) error {
		if e.needs == Anybody {
			return e.handler(c)
		}
		user, ok := session.User(c)
		if !ok {
			return session.AskToSignIn(c)
		}
		if !administers(user) {
			if err := p.allow(c, e, user); err != nil {
				return err
			}
		}
		return e.handler(c)
	}
}

func administers(user autobuild.User) bool { return user.Role == autobuild.RoleAdmin }

// allow checks the right of a user who is not an administrator of the installation.
func (p *Pages) allow(c *gin.Context, e entry, user autobuild.User) error {
	if e.needs == SignedIn {
		return nil
	}
	if e.needs == Installation {
		return &httpx.Error{
			Status:  http.StatusForbidden,
			Message: "Only administrators can do this. An administrator can give you the role under Settings → People.",
		}
	}
	ctx := c.Request.Context()
	if err := p.Rights.CurrentPermissions(ctx, session.ID(c), user.ID); err != nil {
		return permissionsError(err)
	}
	if e.needs == Visible {
		return nil
	}
	if e.of == nil {
		return fmt.Errorf(
			"route %s %s needs %s and names no repository: %w",
			e.method,
			e.path,
			e.needs,
			autobuild.ErrForbidden,
		)
	}
	view := p.view(c)
	r, err := e.of(ctx, view, c)
	if err != nil {
		return err
	}
	has, err := view.Permission(ctx, r)
	if err != nil {
		return err
	}
	if !has.Includes(autobuild.PermissionRead) { // the permission changed between the two queries
		return fmt.Errorf("repository %s: %w", r.ID, autobuild.ErrNotFound)
	}
	c.Set(permissionKey, has)
	if !has.Includes(autobuild.Permission(e.needs)) {
		return &httpx.Error{Status: http.StatusForbidden, Message: fmt.Sprintf(
			"This needs the permission %s on %s at Bitbucket. You have %s. "+
				"If your permission has just changed, choose Refresh my permissions in the menu.", e.needs, r.FullName, has)}
	}
	return nil
}

// permissionsError maps an error of Rights to a message. The message is the same at every address, so
// that it does not reveal which rows exist.
func permissionsError(err error) error {
	if errors.Is(err, autobuild.ErrUnauthorized) && !errors.Is(err, autobuild.ErrUnavailable) {
		return &httpx.Error{
			Status:  http.StatusForbidden,
			Err:     err,
			Message: "Bitbucket no longer accepts your sign-in, so your permissions are unknown. Sign out and sign in again.",
		}
	}
	if errors.Is(err, autobuild.ErrForbidden) {
		return &httpx.Error{Status: http.StatusBadGateway, Err: err,
			Message: "Slipway cannot read your permissions. An administrator has to select Account: Read and " +
				"Repositories: Read on the OAuth consumer at Bitbucket. Then sign in again."}
	}
	status := http.StatusServiceUnavailable
	if !errors.Is(err, autobuild.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusBadGateway
	}
	return &httpx.Error{Status: status, Err: err,
		Message: "Bitbucket does not respond, so your permissions are unknown. Try again in a minute."}
}

// viewer returns the user of a request as a Viewer. Without a session it is the zero Viewer, who may
// read nothing.
func viewer(c *gin.Context) autobuild.Viewer {
	user, _ := session.User(c)
	return autobuild.Viewer{UserID: user.ID, Administrator: administers(user)}
}

// view returns the store with the permissions of the request's user.
func (p *Pages) view(c *gin.Context) View { return p.ViewAs(viewer(c)) }

// permissionOf returns the permission of a request's user on the page's repository.
func permissionOf(c *gin.Context) autobuild.Permission {
	if user, ok := session.User(c); ok && administers(user) {
		return autobuild.PermissionAdmin
	}
	has, _ := c.Value(permissionKey).(autobuild.Permission)
	return has
}

func automatedBuildRepository(ctx context.Context, v View, c *gin.Context) (autobuild.Repository, error) {
	a, err := v.AutomatedBuild(ctx, c.Param("id"))
	return a.Repository, err
}

func buildRepository(_ context.Context, v View, c *gin.Context) (autobuild.Repository, error) {
	b, err := findBuild(c, v)
	return b.Repository, err
}

func deliveryRepository(ctx context.Context, v View, c *gin.Context) (autobuild.Repository, error) {
	d, err := v.Delivery(ctx, c.Param("id"))
	if err != nil {
		return autobuild.Repository{}, err
	}
	h, err := v.Hook(ctx, d.HookID)
	return h.Repository, err
}

// refreshPermissions reads the user's permissions from Bitbucket now.
func (p *Pages) refreshPermissions(c *gin.Context) error {
	user, _ := session.User(c)
	if !administers(user) {
		if err := p.Rights.RenewPermissions(c.Request.Context(), session.ID(c), user.ID); err != nil {
			return permissionsError(err)
		}
	}
	where := accounts.LocalPath(c.PostForm("return_to"))
	if where == "/" {
		where = "/automated-builds"
	}
	return redirectDone(c, withoutQuery(where), "permissions")
}
