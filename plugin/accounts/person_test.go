package accounts_test

import (
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/store/storetest"
)

// watched makes the gateway know a repository, as an automated build does.
func (w *world) watched(r *bitbuckettest.Repository, private bool) autobuild.Repository {
	w.t.Helper()
	known := autobuild.Repository{
		ProviderID: w.provider.ID, ID: r.UUID, WorkspaceID: r.Workspace.UUID, FullName: r.FullName(),
		DefaultBranch: "main", Private: private,
	}
	storetest.AutomatedBuild(w.t, w.store, known)
	return known
}

// session signs a person in through the provider's pages, as package pages does.
func (w *world) session(u *bitbuckettest.User, id string) autobuild.Session {
	w.t.Helper()
	done, err := w.run(u, "")
	if err != nil {
		w.t.Fatal(err)
	}
	s := autobuild.Session{
		ID: id, UserID: done.User.ID, ExpiresAt: w.clock.Now().Add(7 * 24 * time.Hour), Grant: done.Grant,
	}
	if err := w.store.CreateSession(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) current(s autobuild.Session) error {
	return w.CurrentPermissions(w.t.Context(), s.ID, s.UserID)
}

// permission is what the store lets a person do with a repository.
func (w *world) permission(userID string, r autobuild.Repository) autobuild.Permission {
	w.t.Helper()
	p, err := w.store.As(autobuild.Viewer{UserID: userID}).Permission(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) repository(
	workspace *bitbuckettest.Workspace, slug string, v bitbuckettest.Visibility,
) *bitbuckettest.Repository {
	w.t.Helper()
	r, err := w.server.AddRepository(workspace, slug, v)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) readAt(userID string) time.Time {
	w.t.Helper()
	at, err := w.store.PermissionsAt(w.t.Context(), userID)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

// bob signs in; he was granted a permission on the world's repository.
func (w *world) bobWith(granted bitbuckettest.Permission) (autobuild.Repository, autobuild.Session) {
	w.t.Helper()
	app := w.watched(w.repo, true)
	w.repo.Grant(w.bob, granted)
	return app, w.session(w.bob, "s")
}

// wantPermission checks that the permissions of a session's person can be used, and the one on a
// repository.
func (w *world) wantPermission(
	what string, s autobuild.Session, r autobuild.Repository, want autobuild.Permission,
) {
	w.t.Helper()
	if err := w.current(s); err != nil {
		w.t.Errorf("%s: got error %v, want none", what, err)
	}
	if got := w.permission(s.UserID, r); got != want {
		w.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
