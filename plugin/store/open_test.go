package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

func open(t *testing.T, dir string) (*store.Store, error) {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	return store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer})
}

func mustOpen(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASecondGatewayIsRejectedAtOnce(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, dir)
	began := time.Now()
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf(`open: got error %v, want an error with "another process"`, err)
	}
	if waited := time.Since(began); waited > 7*time.Second { // it would wait 8 s for a lock of SQLite's own
		t.Errorf("duration: got %s, want at most 7s", waited)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, dir).Close(); err != nil {
		t.Errorf("open after the first store was closed: %v", err)
	}
}

func TestTheInstanceKeepsItsName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a dir?with #odd%20name")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for range 2 {
		s := mustOpen(t, dir)
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		name, err := s.InstanceID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(name) != 26 {
			t.Fatalf("length of the file name: got %v, want 26", len(name))
		}
		names[name] = true
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(names) != 1 {
		t.Errorf("names: got %v, want 1 of them", names)
	}
	if _, err := os.Stat(filepath.Join(dir, "slipway.db")); err != nil {
		t.Error(err)
	}
}

func TestS1AnotherKeyIsRejected(t *testing.T) {
	dir := t.TempDir()
	if err := mustOpen(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "secret.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "does not belong to this database") {
		t.Errorf(`open: got error %v, want an error with "does not belong to this database"`, err)
	}
}

func TestADatabaseOfANewerVersionIsRejected(t *testing.T) {
	dir := t.TempDir()
	if err := mustOpen(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "a newer version of Slipway") {
		t.Errorf(`open: got error %v, want an error with "a newer version of Slipway"`, err)
	}
}

func TestAFileThatIsNotADatabaseIsRejected(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "slipway.db"), bytes.Repeat([]byte("not a database. "), 1000),
		0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir); err == nil {
		t.Error("open: got no error, want one")
	}
	if _, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "no", "slipway.db")}); err == nil {
		t.Error("open a missing directory: got no error, want one")
	}
}

// S1: The files never contain a plain secret, and only their owner may read them.
func TestS1SecretsNeverReachTheFiles(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenAt(t, dir, time.Now)
	canary := func(name string) secret.Secret { return secret.New("c4nary-" + name) }
	r := storetest.Repository("app")
	account, err := s.SaveAccount(t.Context(),
		autobuild.Account{AccessToken: canary("access"), RefreshToken: canary("refresh")})
	_, tokensErr := s.UpdateTokens(t.Context(), account.ID, account.Version, canary("access2"), canary("refresh2"),
		time.Now())
	_, providerErr := s.SaveProvider(t.Context(), autobuild.Provider{Name: "p", ClientSecret: canary("client")})
	_, registryErr := s.SaveRegistry(t.Context(), autobuild.Registry{Host: "h", Password: canary("registry")})
	_, hookErr := s.SaveHook(t.Context(),
		autobuild.Hook{Repository: r, Secret: canary("hook"), PreviousSecret: canary("before")})
	_, buildErr := s.SaveAutomatedBuild(t.Context(),
		autobuild.AutomatedBuild{Repository: r, Environment: map[string]secret.Secret{"NAME": canary("env")}})
	flowErr := s.SaveOAuthFlow(t.Context(),
		autobuild.OAuthFlow{State: "s", CodeVerifier: canary("verifier"), ExpiresAt: time.Now().Add(time.Hour)})
	user, userErr := s.SaveUser(t.Context(), autobuild.User{Name: "jo", Role: autobuild.RoleNone})
	sessionErr := s.CreateSession(
		t.Context(),
		autobuild.Session{ID: "s", UserID: user.ID, ExpiresAt: time.Now().Add(time.Hour), Grant: autobuild.Grant{
			AccessToken: canary("session"), RefreshToken: canary("session refresh"),
		}},
	)
	_, grantErr := s.UpdateGrant(t.Context(), "s",
		autobuild.Grant{AccessToken: canary("session2"), RefreshToken: canary("session refresh2")})
	err = errors.Join(err, tokensErr, providerErr, registryErr, hookErr, buildErr, flowErr, userErr, sessionErr,
		grantErr)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "slipway.db*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 4 {
		t.Fatalf("files: got %d, want at least 4", len(files))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(data, []byte("c4nary")); i >= 0 {
			t.Errorf("%s: got %q in it, want none", filepath.Base(file), data[i:i+20])
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("permissions: got %v, want %v", info.Mode().Perm(), 0o600)
		}
	}
}

// A value copied to another row cannot be decrypted.
func TestS1ASealedColumnIsBoundToItsRow(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	ours, err := s.SaveRegistry(t.Context(), autobuild.Registry{Host: "ours", Password: secret.New("ours")})
	theirs, err2 := s.SaveRegistry(t.Context(), autobuild.Registry{Host: "theirs", Password: secret.New("theirs")})
	if err := errors.Join(err, err2, s.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "slipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`UPDATE registries SET password = (SELECT password FROM registries WHERE id = $1) WHERE id = $2`,
		theirs.ID, ours.ID)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	defer func() { _ = s.Close() }()
	if got, err := s.Registry(t.Context(), ours.ID); err == nil {
		t.Errorf("open a value moved to another row: got %q, want an error", got.Password.Reveal())
	}
	if _, err := s.Registry(t.Context(), theirs.ID); err != nil {
		t.Errorf("open the other row: %v", err)
	}
}

func TestAClosedStoreReturnsErrors(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{}); err == nil {
		t.Error("receive a delivery: got no error, want one")
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping: got no error, want one")
	}
}

func TestUnsetFieldsAreReadAsUnset(t *testing.T) {
	s := storetest.Open(t)
	_, created, err := s.CreateBuild(t.Context(),
		autobuild.Build{Repository: storetest.Repository("app"), Ref: storetest.Main(), Cause: autobuild.CauseManual})
	if err != nil {
		t.Fatal(err)
	}
	if !created {
		t.Fatal("created: got false, want true")
	}
	b, err := s.BuildByNumber(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if b.Tags != nil {
		t.Errorf("an almost empty build: tags: got %v, want nil", b.Tags)
	}
	if b.BuildArgs != nil {
		t.Errorf("an almost empty build: build args: got %v, want nil", b.BuildArgs)
	}
	if b.Stages != nil {
		t.Errorf("an almost empty build: stages: got %v, want nil", b.Stages)
	}
	if !b.Commit.Date.IsZero() {
		t.Errorf("an almost empty build: date: got %v, want zero", b.Commit.Date)
	}
	if !b.StartedAt.IsZero() {
		t.Errorf("an almost empty build: started at: got %v, want zero", b.StartedAt)
	}
}

// A wrong key is found before the schema is upgraded, and so is one of several keys that is missing.
func TestS1AWrongKeyChangesNothing(t *testing.T) {
	key := func(n byte) []byte { return bytes.Repeat([]byte{n}, seal.KeySize) }
	both := must.Get[*seal.Sealer](t)(seal.New(2, map[byte][]byte{1: key(1), 2: key(2)}))
	for name, c := range map[string]struct {
		sealer *seal.Sealer
		want   string
	}{
		"another key":      {must.Get[*seal.Sealer](t)(seal.New(1, map[byte][]byte{1: key(9)})), "does not belong to this database"},
		"a key is missing": {must.Get[*seal.Sealer](t)(seal.New(2, map[byte][]byte{2: key(2)})), "has key 1: put its line back"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "slipway.db")
			s := must.Get[*store.Store](t)(store.Open(t.Context(), store.Options{Path: path, Sealer: both}))
			must.Succeed(t, s.Close())
			old := must.Get[*seal.Sealer](t)(seal.New(1, map[byte][]byte{1: key(1)}))
			sealed := must.Get[[]byte](t)(old.Seal(1, "providers/client_secret/p", secret.New("old")))
			db := must.Get[*sql.DB](t)(sql.Open("sqlite", path))
			_, err := db.Exec(`INSERT INTO providers VALUES ('p', 'cloud', 'p', '', '', '', $1, 0)`, sealed)
			_, versionErr := db.Exec(`DELETE FROM goose_db_version WHERE version_id = 19`)
			must.Succeed(t, errors.Join(err, versionErr, db.Close()))
			before := must.Get[[]byte](t)(os.ReadFile(path))

			for opened, open := range map[string]func() (*store.Store, error){
				"gateway": func() (*store.Store, error) {
					return store.Open(t.Context(), store.Options{Path: path, Sealer: c.sealer})
				},
				"doctor": func() (*store.Store, error) {
					return store.OpenReadOnly(t.Context(), store.Options{Path: path, Sealer: c.sealer})
				},
			} {
				_, err = open()
				if !errors.Is(err, store.ErrWrongKey) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got error %v, want %q", opened, err, c.want)
				}
			}
			if after := must.Get[[]byte](t)(os.ReadFile(path)); !bytes.Equal(before, after) {
				t.Error("database after the starts: got other bytes, want the same")
			}
		})
	}
}
