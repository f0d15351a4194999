package doctor_test

import (
	"bytes"
	"database/sql"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/doctor"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// A failure is a state of an installation in which a check fails.
type failure struct {
	check   string
	environ []string // further settings
	// postgres prepares the installation in PostgreSQL instead of SQLite. The server of the tests has fsync=off.
	postgres bool
	prepare  func(t *testing.T, s *store.Store) // changes the database
	damage   func(t *testing.T, dir string)     // changes the data directory after the database is closed
	want     string                             // in the check's line
}

func failures() []failure {
	return []failure{
		{check: "settings", environ: []string{"SLIPWAY_URL="}, want: "SLIPWAY_URL is not set"},
		{check: "disk", environ: []string{"SLIPWAY_DATA=/no/such"}, want: "/no/such"},
		{check: "user", damage: func(t *testing.T, dir string) {
			t.Helper()
			must.Succeed(t, os.Chmod(dir, 0o777))
		}, want: "run chmod o-w on it"},
		{check: "database", damage: func(t *testing.T, dir string) {
			t.Helper()
			must.Succeed(
				t,
				os.WriteFile(filepath.Join(dir, "slipway.db"), bytes.Repeat([]byte("no database "), 1000), 0o600),
			)
		}, want: "the database is damaged: restore a backup"},
		{check: "keys", damage: func(t *testing.T, dir string) {
			t.Helper()
			must.Succeed(t, os.Remove(filepath.Join(dir, "secret.key")))
		}, want: "put the installation's key file back"},
		{check: "durability", postgres: true, want: "set fsync = on in postgresql.conf"},
		{check: "integrity", damage: execute(`DROP INDEX builds_state`), want: "the definition of index builds_state"},
		{
			check: "foreign keys", damage: execute(`DELETE FROM repositories`),
			want: "a row of automated_builds has no row in repositories",
		},
		{
			check:  "rows",
			damage: execute(`UPDATE deliveries SET body = x'00'`),
			want:   "table deliveries: row 1: column body",
		},
		{check: "public URL", want: "SLIPWAY_URL=http://127.0.0.1:1"},
		{check: "clock", environ: []string{"SLIPWAY_BITBUCKET_API_URL=http://127.0.0.1:1"}, want: "check the address"},
		{check: "OAuth client", prepare: saveProvider, want: "cloud"},
		{check: "account", prepare: breakAccount, want: "it was revoked: link it again"},
		{check: "registry", want: "127.0.0.1:1: "},
		{check: "webhook", prepare: replaceSecret, want: "run `slipway webhooks rotate acme/app`"},
		{check: "versions", damage: execute(`DROP TABLE attempts`), want: "no such table: attempts"},
		{check: "builder", want: "no builder at tcp://127.0.0.1:1"},
		{check: "runc", damage: putInPath("runc", "runc version 1.3.2"), want: "runc: with CVE-2025-31133 a build can"},
		{check: "git", damage: putInPath("git", "git version 2.50.0"), want: "git: with CVE-2025-48384 a build can"},
		{check: "isolation", environ: []string{"SLIPWAY_BUILDER_SERVICE=/no/such.sock"}, want: "/no/such.sock"},
		{check: drone.Name, environ: []string{
			"SLIPWAY_DRONE_SERVER=http://127.0.0.1:1", "SLIPWAY_DRONE_TOKEN=t",
		}, want: "the extensions have no secrets yet"},
		{check: woodpecker.Name, environ: []string{
			"SLIPWAY_WOODPECKER_SERVER=http://127.0.0.1:1", "SLIPWAY_WOODPECKER_TOKEN=t",
		}, want: "127.0.0.1:1"},
	}
}

// Each check can fail, and then has no line that says that it passed.
func TestEachCheckFails(t *testing.T) {
	api := bitbucket(t, 0)
	for _, f := range failures() {
		t.Run(f.check, func(t *testing.T) {
			dir := t.TempDir()
			environ := append(settings(t, api), "SLIPWAY_DATA="+dir)
			if f.postgres {
				environ = append(environ, preparePostgres(t, dir)...)
			} else {
				prepareInstallation(t, dir, f.prepare)
			}
			if f.damage != nil {
				f.damage(t, dir)
			}
			var out bytes.Buffer
			err := doctor.Run(t.Context(), &out, doctor.Options{Environ: append(environ, f.environ...), Database: true})
			if err == nil {
				t.Error("doctor: got no error, want one")
			}
			failed := false
			for line := range strings.Lines(out.String()) {
				mark, rest, _ := strings.Cut(line, " ")
				if !strings.HasPrefix(rest, f.check+" ") {
					continue
				}
				if mark == "✓" {
					t.Errorf("line: got %q, want no success", line)
				}
				failed = failed || (mark == "✕" && strings.Contains(rest, f.want))
			}
			if !failed {
				t.Errorf("output: got\n%s\nwant a failure of %s with %q", &out, f.check, f.want)
			}
		})
	}
}

// A database of a newer version is no problem of the key.
func TestANewerSchemaIsAProblemOfTheDatabase(t *testing.T) {
	dir := t.TempDir()
	prepareInstallation(t, dir, nil)
	execute(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)`)(t, dir)
	var out bytes.Buffer
	environ := append(settings(t, bitbucket(t, 0)), "SLIPWAY_DATA="+dir)
	if err := doctor.Run(t.Context(), &out, doctor.Options{Environ: environ}); err == nil {
		t.Error("doctor: got no error, want one")
	}
	lines := map[string]string{}
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		lines[fields[1]] = line
	}
	if line := lines["database"]; !strings.HasPrefix(line, "✕") || !strings.Contains(line, "schema version is 9999") {
		t.Errorf("line of the database: got %q, want the version of its schema", line)
	}
	if line := lines["keys"]; !strings.HasPrefix(line, "-") {
		t.Errorf("line of the keys: got %q, want it skipped", line)
	}
}

// The checks that can fail are those that doctor can print: its constants of type Check.
func TestAllChecksHaveAFailure(t *testing.T) {
	var tested []string
	for _, f := range failures() {
		tested = append(tested, f.check)
	}
	slices.Sort(tested)
	if diff := cmp.Diff(declaredChecks(t), tested); diff != "" {
		t.Errorf("checks with a failure (-declared +tested):\n%s", diff)
	}
}

// declaredChecks reads the constants of type Check from the source of package doctor. It fails the test
// if a finding has another name.
func declaredChecks(t *testing.T) (names []string) {
	t.Helper()
	files := must.Get[[]string](t)(filepath.Glob("*.go"))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree := must.Get[*ast.File](t)(parser.ParseFile(token.NewFileSet(), file, nil, 0))
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "Check" {
					names = append(names, valueOf(t, n.Values[0]))
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); !ok || key.Name != "Check" {
					break
				}
				if _, ok := n.Value.(*ast.BasicLit); ok {
					t.Errorf("%s: a finding has a literal as its check, want a constant", file)
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return names
}

func valueOf(t *testing.T, value ast.Expr) string {
	t.Helper()
	switch value := value.(type) {
	case *ast.BasicLit:
		return must.Get[string](t)(strconv.Unquote(value.Value))
	case *ast.SelectorExpr:
		if of, ok := value.X.(*ast.Ident); ok && value.Sel.Name == "Name" {
			return of.Name
		}
	}
	t.Fatalf("constant of type Check: got %T, want a literal or the name of an engine", value)
	return ""
}

// prepareInstallation stores an installation whose registry is at a refused address.
func prepareInstallation(t *testing.T, dir string, prepare func(*testing.T, *store.Store)) {
	t.Helper()
	t.Run("prepare", func(t *testing.T) { // closes the store at its end
		s := storetest.OpenAt(t, dir, time.Now)
		ab := storetest.AutomatedBuild(t, s, storetest.Repository("app"))
		ab.Image = "127.0.0.1:1/acme/app"
		_, buildErr := s.SaveAutomatedBuild(t.Context(), ab)
		_, err := s.SaveRegistry(t.Context(), autobuild.Registry{
			Host: "127.0.0.1:1", Purpose: autobuild.RegistryPush, Password: secret.New("password"),
		})
		_, deliveryErr := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
		must.Succeed(t, errors.Join(buildErr, err, deliveryErr))
		if prepare != nil {
			prepare(t, s)
		}
	})
}

// preparePostgres stores an empty installation in PostgreSQL, and returns its settings.
func preparePostgres(t *testing.T, dir string) (environ []string) {
	t.Helper()
	address := storetest.NewestPostgres(t)
	key := filepath.Join(dir, "secret.key")
	sealer := must.Get[*seal.Sealer](t)(seal.LoadOrCreate(key, true))
	must.Succeed(t, storetest.OpenPostgresAt(t, address, sealer, nil).Close())
	return []string{"SLIPWAY_DATABASE=" + address.Reveal(), "SLIPWAY_KEY_FILE=" + key}
}

// execute returns a function that executes a statement on the database, without foreign keys.
func execute(statement string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		db := must.Get[*sql.DB](t)(sql.Open("sqlite", filepath.Join(dir, "slipway.db")))
		_, err := db.ExecContext(t.Context(), statement)
		must.Succeed(t, errors.Join(err, db.Close()))
	}
}

// putInPath returns a function that puts a program first in PATH. The program prints a text.
func putInPath(name, prints string) func(t *testing.T, dir string) {
	return func(t *testing.T, _ string) {
		t.Helper()
		bin := t.TempDir()
		script := "#!/bin/sh\necho " + prints + "\n"
		must.Succeed(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	}
}

func saveProvider(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.SaveProvider(t.Context(), autobuild.Provider{
		Kind: autobuild.Cloud, Name: "cloud", WebURL: "http://127.0.0.1:1", APIURL: "http://127.0.0.1:1",
		ClientID: "id", ClientSecret: secret.New("secret"),
	})
	must.Succeed(t, err)
}

func breakAccount(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.SaveAccount(t.Context(), autobuild.Account{
		Name: "acme", State: autobuild.AccountBroken, Problem: "it was revoked",
	})
	must.Succeed(t, err)
}

// replaceSecret replaces the secret of a webhook, but not at Bitbucket.
func replaceSecret(t *testing.T, s *store.Store) {
	t.Helper()
	h := must.Get[autobuild.Hook](t)(s.SaveHook(t.Context(), autobuild.Hook{
		Repository: storetest.Repository("app"), Secret: secret.New("old"), State: autobuild.HookActive,
	}))
	_, err := s.ReplaceHookSecret(t.Context(), h, secret.New("new"), time.Now().Add(time.Hour))
	must.Succeed(t, err)
}
