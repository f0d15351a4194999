package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

// The migration of an older installation removes the roles viewer and member, and the sessions
// without a grant to read permissions.
func TestOldRolesAreReplacedByPermissions(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.UpTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"none", "viewer", "member", "admin"} {
		_, userErr := db.Exec(`INSERT INTO users (id, provider_id, remote_id, name, role, created_at)
			VALUES ($1, 'cloud', $1, $1, $1, 1)`,
			role)
		_, sessionErr := db.Exec(`INSERT INTO sessions (id, user_id, created_at, expires_at)
			VALUES ($1, $1, 1, 9000000000000)`,
			role)
		if err := errors.Join(userErr, sessionErr); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	defer func() { _ = s.Close() }()
	users, err := s.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]string{}
	for _, u := range users {
		roles[u.Name] = string(u.Role)
	}
	if diff := cmp.Diff(map[string]string{"none": "none", "viewer": "none", "member": "none", "admin": "admin"},
		roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	counts, err := s.SessionCounts(t.Context())
	if diff := cmp.Diff(map[string]int{"admin": 1}, counts); diff != "" || err != nil {
		t.Errorf("got error %v, sessions (-want +got):\n%s", err, diff)
	}
}

// Permissions that are older than an hour are not valid, even if the caller checked them before.
func TestExpiredPermissionsShowNothing(t *testing.T) {
	now := time.Now()
	s := storetest.OpenAt(t, t.TempDir(), func() time.Time { return now })
	app := storetest.AutomatedBuild(t, s, storetest.Repository("app"))
	jo, err := s.SaveUser(t.Context(),
		autobuild.User{ProviderID: app.Repository.ProviderID, RemoteID: "{jo}", Role: autobuild.RoleNone})
	if err != nil {
		t.Fatal(err)
	}
	session := autobuild.Session{ID: "s", UserID: jo.ID, ExpiresAt: now.Add(24 * time.Hour)}
	if err := s.CreateSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	err = s.SavePermissions(t.Context(), autobuild.Permissions{
		SessionID: "s", UserID: jo.ID, ProviderID: app.Repository.ProviderID,
		Repositories: map[string]autobuild.Permission{app.Repository.ID: autobuild.PermissionAdmin},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		age        time.Duration
		sees       int
		permission autobuild.Permission
	}{{autobuild.PermissionsKept - time.Second, 1, autobuild.PermissionAdmin}, {2 * time.Second, 0, autobuild.PermissionNone}} {
		now = now.Add(c.age)
		v := s.As(autobuild.Viewer{UserID: jo.ID})
		page, err := v.ListAutomatedBuilds(t.Context(), autobuild.AutomatedBuildFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Rows) != c.sees {
			t.Fatalf("automated builds: got %v, want %v", len(page.Rows), c.sees)
		}
		p, err := v.Permission(t.Context(), app.Repository)
		if err != nil {
			t.Fatal(err)
		}
		if p != c.permission {
			t.Errorf("permission: got %v, want %v", p, c.permission)
		}
	}
}
