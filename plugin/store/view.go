package store

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// A View is the database as one user sees it. Rows of a repository that the user may not read do
// not exist for it: lists leave them out, and single rows are ErrNotFound, like unknown ones. The
// condition is part of each query, so that no caller can forget it.
type View struct {
	store  *Store
	viewer autobuild.Viewer
}

// As returns the View of a viewer.
func (s *Store) As(v autobuild.Viewer) View { return View{store: s, viewer: v} }

// restrict adds the condition that the viewer may read the repository in these columns.
func (v View) restrict(c *conditions, provider, repository string) {
	if v.viewer.Administrator {
		return
	}
	c.terms = append(c.terms, v.readCondition(c, provider, repository))
}

// readCondition returns the SQL condition that the viewer may read the repository in these
// columns.
func (v View) readCondition(c *conditions, provider, repository string) string {
	since := ms(v.store.Now().Add(-autobuild.PermissionsKept))
	return `EXISTS (SELECT 1 FROM permissions p WHERE p.user_id = ` + c.arg(v.viewer.UserID) +
		` AND p.provider_id = ` + provider + ` AND p.repository_id = ` + repository +
		` AND p.checked_at > ` + c.arg(since) + `)`
}

// Permission returns the permission of the viewer on a repository: admin for an administrator of
// the installation, and none if no permission is stored.
func (v View) Permission(ctx context.Context, r autobuild.Repository) (p autobuild.Permission, err error) {
	if v.viewer.Administrator {
		return autobuild.PermissionAdmin, nil
	}
	err = v.store.read.QueryRowContext(ctx, `SELECT permission FROM permissions
		WHERE user_id = $1 AND provider_id = $2 AND repository_id = $3 AND checked_at > $4`,
		v.viewer.UserID, r.ProviderID, r.ID, ms(v.store.Now().Add(-autobuild.PermissionsKept))).Scan(&p)
	if errors.Is(mapError(err), autobuild.ErrNotFound) {
		return autobuild.PermissionNone, nil
	}
	if err != nil {
		return autobuild.PermissionNone, fmt.Errorf("permission on repository %s: %w", r.ID, err)
	}
	return p, nil
}

// Permission returns the permission of a viewer on a repository, like View.Permission.
func (s *Store) Permission(
	ctx context.Context, v autobuild.Viewer, r autobuild.Repository,
) (autobuild.Permission, error) {
	return s.As(v).Permission(ctx, r)
}

// AutomatedBuild returns an automated build with its rules.
func (v View) AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error) {
	var c conditions
	c.terms = append(c.terms, "a.id = "+c.arg(id))
	v.restrict(&c, "a.provider_id", "a.repository_id")
	all, err := v.store.listAutomatedBuilds(ctx, c.where(), c.args...)
	if err == nil && len(all) == 0 {
		err = autobuild.ErrNotFound
	}
	if err != nil {
		return autobuild.AutomatedBuild{}, fmt.Errorf("automated build %s: %w", id, err)
	}
	return all[0], nil
}

// Builds returns the builds of a filter that the viewer may read, without stages.
func (v View) Builds(ctx context.Context, f autobuild.BuildFilter) ([]autobuild.Build, error) {
	few, err := v.readsFew(ctx)
	if err != nil {
		return nil, err
	}
	var c conditions
	if few && f.AutomatedBuildID == "" && f.DeliveryID == "" {
		f.Limit = pageLimit(f.Limit)
		where := v.whereNewestBuilds(&c, f)
		return v.store.queryBuilds(ctx, c, where, f.Limit)
	}
	v.restrict(&c, "b.provider_id", "b.repository_id")
	return v.store.listBuilds(ctx, c, f)
}

// BuildByNumber returns the build with this number.
func (v View) BuildByNumber(ctx context.Context, number int64) (autobuild.Build, error) {
	var c conditions
	c.terms = append(c.terms, "b.number = "+c.arg(number))
	v.restrict(&c, "b.provider_id", "b.repository_id")
	b, err := scanBuild(v.store.read.QueryRowContext(ctx, selectBuild+c.where(), c.args...))
	if err != nil {
		return autobuild.Build{}, fmt.Errorf("build %d: %w", number, mapError(err))
	}
	return b, nil
}

// restrictDeliveries adds the condition that the viewer may read a delivery. The repository of a
// delivery is that of its webhook. Only an administrator sees the deliveries of a deleted
// webhook.
func (v View) restrictDeliveries(c *conditions) {
	if v.viewer.Administrator {
		return
	}
	mayRead := v.readCondition(c, "h.provider_id", "h.repository_id")
	c.terms = append(c.terms, `EXISTS (SELECT 1 FROM hooks h WHERE h.id = deliveries.hook_id AND `+mayRead+`)`)
}

// Deliveries returns the deliveries of a filter that the viewer may read, without bodies.
func (v View) Deliveries(ctx context.Context, f autobuild.DeliveryFilter) ([]autobuild.Delivery, error) {
	few, err := v.readsFew(ctx)
	if err != nil {
		return nil, err
	}
	var c conditions
	if few && f.HookID == "" {
		f.Limit = pageLimit(f.Limit)
		where := v.whereNewestDeliveries(&c, f)
		return v.store.queryDeliveries(ctx, c, where, f.Limit)
	}
	v.restrictDeliveries(&c)
	return v.store.listDeliveries(ctx, c, f)
}

// Delivery returns a delivery with its body and headers.
func (v View) Delivery(ctx context.Context, id string) (autobuild.Delivery, error) {
	var c conditions
	c.terms = append(c.terms, "id = "+c.arg(id))
	v.restrictDeliveries(&c)
	return v.store.delivery(ctx, id, c)
}

// Hook returns the webhook with this id.
func (v View) Hook(ctx context.Context, id string) (autobuild.Hook, error) {
	var c conditions
	c.terms = append(c.terms, "h.id = "+c.arg(id))
	v.restrict(&c, "h.provider_id", "h.repository_id")
	all, err := v.store.listHooks(ctx, c)
	if err == nil && len(all) == 0 {
		err = autobuild.ErrNotFound
	}
	if err != nil {
		return autobuild.Hook{}, fmt.Errorf("hook %s: %w", id, err)
	}
	return all[0], nil
}
