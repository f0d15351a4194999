package accounts_test

import (
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/store/storetest"
)

// watched adds an automated build of a repository.
func (e *env) watched(r *bitbuckettest.Repository, private bool) autobuild.Repository {
	e.t.Helper()
	known := autobuild.Repository{
		ProviderID: e.provider.ID, ID: r.UUID, WorkspaceID: r.Workspace.UUID, FullName: r.FullName(),
		DefaultBranch: "main", Private: private,
	}
	storetest.AutomatedBuild(e.t, e.store, known)
	return known
}

// session signs a user in through the provider's pages and stores a session, as package pages does.
func (e *env) session(u *bitbuckettest.User, id string) autobuild.Session {
	e.t.Helper()
	done, err := e.run(u, "")
	if err != nil {
		e.t.Fatal(err)
	}
	s := autobuild.Session{
		ID: id, UserID: done.User.ID, ExpiresAt: e.clock.Now().Add(7 * 24 * time.Hour), Grant: done.Grant,
	}
	if err := e.store.CreateSession(e.t.Context(), s); err != nil {
		e.t.Fatal(err)
	}
	return s
}

func (e *env) current(s autobuild.Session) error {
	return e.CurrentPermissions(e.t.Context(), s.ID, s.UserID)
}

// permission returns the stored permission of a user on a repository.
func (e *env) permission(userID string, r autobuild.Repository) autobuild.Permission {
	e.t.Helper()
	p, err := e.store.As(autobuild.Viewer{UserID: userID}).Permission(e.t.Context(), r)
	if err != nil {
		e.t.Fatal(err)
	}
	return p
}

func (e *env) repository(
	workspace *bitbuckettest.Workspace, slug string, v bitbuckettest.Visibility,
) *bitbuckettest.Repository {
	e.t.Helper()
	r, err := e.server.AddRepository(workspace, slug, v)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e *env) readAt(userID string) time.Time {
	e.t.Helper()
	at, err := e.store.PermissionsAt(e.t.Context(), userID)
	if err != nil {
		e.t.Fatal(err)
	}
	return at
}

// Bob signs in with a permission on the repository of the env.
func (e *env) bobWith(granted bitbuckettest.Permission) (autobuild.Repository, autobuild.Session) {
	e.t.Helper()
	app := e.watched(e.repo, true)
	e.repo.Grant(e.bob, granted)
	return app, e.session(e.bob, "s")
}

// wantPermission checks that a session's permissions can be used, and the permission on a repository.
func (e *env) wantPermission(
	what string, s autobuild.Session, r autobuild.Repository, want autobuild.Permission,
) {
	e.t.Helper()
	if err := e.current(s); err != nil {
		e.t.Errorf("%s: got error %v, want none", what, err)
	}
	if got := e.permission(s.UserID, r); got != want {
		e.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
