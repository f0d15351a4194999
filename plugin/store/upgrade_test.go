package store_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

func TestAnEarlierDatabaseIsUpgraded(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		path, clock := filepath.Join(t.TempDir(), "slipway.db"), storetest.NewClock()
		fill(t, "sqlite", path, goose.DialectSQLite3, firstStored)
		later := func(t *testing.T, s *store.Store) {
			clock.Add(48 * time.Hour)
			checkPruning(t, s)
		}
		for _, check := range []func(*testing.T, *store.Store){checkUpgraded, checkUpgraded, useUpgraded, later} {
			s, err := store.Open(t.Context(), store.Options{Path: path, Sealer: storedKey(t), Now: clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			check(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		address, clock := storetest.PostgresAddress(t), storetest.NewClock()
		fill(t, "pgx", address.Reveal(), goose.DialectPostgres, firstStored)
		s := storetest.OpenPostgresAt(t, address, storedKey(t), clock.Now)
		checkUpgraded(t, s)
		useUpgraded(t, s)
		clock.Add(48 * time.Hour)
		checkPruning(t, s)
	})
}

// checkUpgraded reads the stored rows, and compares them with the documented result of the upgrade.
func checkUpgraded(t *testing.T, s *store.Store) {
	t.Helper()
	checkUsers(t, s)
	checkCredentials(t, s)
	b, err := s.BuildByNumber(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if b.State != autobuild.Succeeded {
		t.Errorf("state: got %v, want %v", b.State, autobuild.Succeeded)
	}
	if b.Size != 12345 {
		t.Errorf("size: got %v, want 12345", b.Size)
	}
	if len(b.Stages) != 1 {
		t.Fatalf("stages: got %v, want 1", len(b.Stages))
	}
	if b.ExtraTags != nil {
		t.Errorf("extra tags: got %v, want nil", b.ExtraTags)
	}
	hooks, err := s.Hooks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(hooks) != 1 {
		t.Fatalf("webhooks: got %v, want 1", len(hooks))
	}
	h := hooks[0]
	if h.Secret.Reveal() != "hook secret" {
		t.Errorf("secret: got %q, want %q", h.Secret.Reveal(), "hook secret")
	}
	if h.PreviousSecret.Reveal() != "secret before" {
		t.Errorf("previous secret: got %q, want %q", h.PreviousSecret.Reveal(), "secret before")
	}
	if h.SecretVersion != 1 {
		t.Errorf("secret version: got %v, want 1", h.SecretVersion)
	}
	if h.SecretWritten != 1 {
		t.Errorf("secret written: got %v, want 1", h.SecretWritten)
	}
	attempts, err := s.ActiveAttempts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(attempts) != 1 {
		t.Fatalf("attempts: got %v, want 1", len(attempts))
	}
	text, err := s.ReadLog(t.Context(), b.ID, 1, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != "built and pushed\n" {
		t.Errorf("log: got %q, want %q", string(text), "built and pushed\n")
	}
	deliveries, err := s.Deliveries(t.Context(), autobuild.DeliveryFilter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(deliveries) != 1 {
		t.Fatalf("deliveries: got %v, want 1", len(deliveries))
	}
	if deliveries[0].RequestID != "request" {
		t.Errorf("request ID: got %q, want %q", deliveries[0].RequestID, "request")
	}
}

// checkUsers expects that permissions come from Bitbucket now, and that all users still exist.
func checkUsers(t *testing.T, s *store.Store) {
	t.Helper()
	users, err := s.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]autobuild.Role{}
	for _, u := range users {
		roles[u.Name] = u.Role
	}
	want := map[string]autobuild.Role{
		"none":   autobuild.RoleNone,
		"viewer": autobuild.RoleNone,
		"member": autobuild.RoleNone,
		"admin":  autobuild.RoleAdmin,
	}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	counts, err := s.SessionCounts(t.Context())
	if diff := cmp.Diff(map[string]int{"user-admin": 1}, counts); diff != "" || err != nil {
		t.Errorf("got error %v, sessions (-want +got):\n%s", err, diff)
	}
	if u, err := s.SessionUser(t.Context(), "session-admin"); err != nil || u.Role != autobuild.RoleAdmin {
		t.Errorf("user of the administrator's session: got %+v, error %v, want the administrator", u, err)
	}
}

// checkCredentials expects that each secret can be decrypted, and that builds push with the same
// credential as before.
func checkCredentials(t *testing.T, s *store.Store) {
	t.Helper()
	registries, err := s.Registries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	automated, err := s.AutomatedBuilds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(automated) != 1 {
		t.Fatalf("automated builds: got %v, want 1", len(automated))
	}
	chosen := credentials.Choose(registries,
		credentials.Use{AutomatedBuildID: automated[0].ID, Image: automated[0].Image})
	if chosen.Push.ID != "path" {
		t.Errorf("push ID: got %q, want %q", chosen.Push.ID, "path")
	}
	if len(chosen.Pull) != 0 {
		t.Fatalf("pull credentials: got %v, want 0", len(chosen.Pull))
	}
	whole, err := s.Registry(t.Context(), "whole")
	want := autobuild.Registry{
		ID:        "whole",
		Host:      "registry.example.com",
		Purpose:   autobuild.RegistryPush,
		Username:  "robot",
		Password:  secret.New("registry password"),
		Insecure:  true,
		CheckedAt: storetest.NewClock().Now(),
		Problem:   "down",
	}
	if diff := cmp.Diff(want, whole); diff != "" || err != nil {
		t.Errorf("got error %v, registry (-want +got):\n%s", err, diff)
	}
	account, err := s.Account(t.Context(), automated[0].AccountID)
	if err != nil {
		t.Fatal(err)
	}
	if account.AccessToken.Reveal() != "access token" {
		t.Errorf("access token: got %q, want %q", account.AccessToken.Reveal(), "access token")
	}
	if account.RefreshToken.Reveal() != "refresh token" {
		t.Errorf("refresh token: got %q, want %q", account.RefreshToken.Reveal(), "refresh token")
	}
	if got := automated[0].Environment["NPM_TOKEN"].Reveal(); got != "npm token" {
		t.Errorf("variable: got %q, want the stored one", got)
	}
	p, err := s.Provider(t.Context(), "cloud")
	if err != nil {
		t.Fatal(err)
	}
	if p.ClientSecret.Reveal() != "client secret" {
		t.Errorf("client secret: got %q, want %q", p.ClientSecret.Reveal(), "client secret")
	}
	if err := s.CheckPipelineToken(t.Context(), automated[0].ID, "pipeline-hash"); err != nil {
		t.Errorf("the pipeline token: %v", err)
	}
	value, err := s.KnownExtensionSecret(t.Context(), "woodpecker", "config")
	if err != nil {
		t.Fatal(err)
	}
	if value.IsZero() {
		t.Error("secret of the extension: got none, want one")
	}
}

// useUpgraded uses the upgraded rows: permits, bound credentials, and pruning.
func useUpgraded(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	older, err := s.BuildByNumber(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	granted, holder, err := s.Permit(ctx, older.ID, 1, []string{"latest"}, nil)
	if granted {
		t.Error("granted: got true, want false")
	}
	if holder.Number != 2 {
		t.Errorf("build number of the holder: got %v, want 2", holder.Number)
	}
	if err != nil {
		t.Fatal(err)
	}
	if granted, _, err := s.Permit(ctx, older.ID, 1, nil, []string{"nightly"}); !granted || err != nil {
		t.Errorf("an extra tag: got granted %t, error %v, want true and no error", granted, err)
	}
	bound, err := s.SaveRegistry(ctx, autobuild.Registry{
		Host:             "registry.example.com",
		AutomatedBuildID: older.AutomatedBuildID,
		Username:         "u",
		Password:         secret.New("p"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAutomatedBuild(ctx, older.AutomatedBuildID); err != nil {
		t.Fatal(err)
	}
	left, err := s.Registries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 {
		t.Fatalf("registries: got %v, want 2", len(left))
	}
	if slices.ContainsFunc(left, func(r autobuild.Registry) bool { return r.ID == bound.ID }) {
		t.Errorf("credential %s of the deleted automated build: got it stored, want it deleted", bound.ID)
	}
}

// checkPruning runs two days after the upgrade. Users who had a role still exist, and users who
// never had a permission are deleted.
func checkPruning(t *testing.T, s *store.Store) {
	t.Helper()
	const kept = 30 * 24 * time.Hour
	if _, err := s.Prune(t.Context(), s.Now().Add(-kept)); err != nil {
		t.Fatal(err)
	}
	users, err := s.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
	}
	if diff := cmp.Diff([]string{"admin", "member", "viewer"}, names); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
}
