package plugin

import (
	"database/sql"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config"
	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/store/storetest"
)

// A dataState is the content of a data directory before a start.
type dataState struct {
	make     func(t *testing.T, dir string) // after a completed start, which left its files there
	postgres bool                           // the database is an empty one of PostgreSQL
	want     []string                       // in the error; nil = the gateway starts
}

func dataStates() map[string]dataState {
	return map[string]dataState{
		"complete":                {make: nothing},
		"new":                     {make: keep()},
		"interrupted first start": {make: interrupted},
		"no database": {
			make: remove("slipway.db"),
			want: []string{
				"slipway.db has no installation",
				"/gateway",
				"/secret.key",
				"restore a backup",
				"move these files",
			},
		},
		"empty database": {make: truncate("slipway.db"), want: []string{"slipway.db has no installation"}},
		"database without tables": {
			make: withoutTables, want: []string{"slipway.db has no installation"},
		},
		"only the key":      {make: keep("secret.key"), want: []string{"left", "/secret.key"}},
		"only the name":     {make: keep("gateway"), want: []string{"left", "/gateway"}},
		"only logs":         {make: onlyLogs, want: []string{"left", "/logs"}},
		"only SQLite's log": {make: onlyLog, want: []string{"slipway.db-wal", "restore a backup"}},
		"no key": {
			make: remove("secret.key"),
			want: []string{"secret.key does not exist", "put the key file back"},
		},
		"no key and no name": {make: keep("slipway.db"), want: []string{"secret.key does not exist"}},
		"empty key":          {make: truncate("secret.key"), want: []string{"it contains no key"}},
		"another key":        {make: anotherKey, want: []string{"does not belong to this database"}},
		"damaged database":   {make: damaged, want: []string{"the database is damaged", "restore a backup"}},
		"empty PostgreSQL": {
			postgres: true,
			make:     nothing,
			want:     []string{"SLIPWAY_DATABASE has no installation", "/slipway.db"},
		},
		"PostgreSQL and a name": {
			postgres: true,
			make:     keep("gateway"),
			want:     []string{"SLIPWAY_DATABASE has no installation", "search_path"},
		},
		"new with PostgreSQL": {postgres: true, make: keep()},
	}
}

// A gateway does not start empty where an installation was, nor without its key, and then changes
// nothing. A first start that was interrupted goes on.
func TestAGatewayStartsOnlyWithItsDatabaseAndKey(t *testing.T) {
	for name, state := range dataStates() {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			environ := settingsOf(t, l)
			dir := dataOf(t, environ)
			must.Succeed(t, tryStart(t, environ))
			state.make(t, dir)
			if state.postgres {
				environ = append(environ, "SLIPWAY_DATABASE="+storetest.PostgresAddress(t).Reveal(),
					"SLIPWAY_KEY_FILE="+filepath.Join(dir, "secret.key"))
			}
			before := filesOf(t, dir)
			err := tryStart(t, environ)
			if state.want == nil {
				if err != nil {
					t.Errorf("start: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("start: got no error, want one")
			}
			for _, want := range state.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error: got %q, want %q in it", err, want)
				}
			}
			if diff := cmp.Diff(before, filesOf(t, dir)); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
}

// A further gateway of an installation on PostgreSQL needs the key of the others. It makes none.
func TestAFurtherGatewayNeedsTheKey(t *testing.T) {
	address := storetest.PostgresAddress(t).Reveal()
	key := filepath.Join(t.TempDir(), "secret.key")
	settings := func(key string) []string {
		return append(settingsOf(t, listen(t)), "SLIPWAY_DATABASE="+address, "SLIPWAY_KEY_FILE="+key)
	}
	must.Succeed(t, tryStart(t, settings(key)))
	missing := filepath.Join(t.TempDir(), "secret.key")
	if err := tryStart(t, settings(missing)); err == nil || !strings.Contains(err.Error(), "put the key file back") {
		t.Errorf("start without the key: got error %v, want the fix", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("key file after the start: got error %v, want none made", err)
	}
	if err := tryStart(t, settings(key)); err != nil {
		t.Errorf("start with the key: %v", err)
	}
}

// A gateway whose database file is deleted reports it at once, and acknowledges no delivery.
func TestADeletedDatabaseStopsTheGateway(t *testing.T) {
	e := newRotateEnv(t)
	e.listener = relisten(t, e.listener)
	stop := serve(t, e.environ, e.listener)
	defer stop()
	body := []byte(`{}`)
	if got := e.send(t, e.sign(body), body); got/100 != 2 {
		t.Fatalf("delivery: got status %d, want 2xx", got)
	}
	if got := statusOf(t, e.url+"/readyz"); got != http.StatusOK {
		t.Fatalf("/readyz: got status %d, want 200", got)
	}
	path := filepath.Join(dataOf(t, e.environ), "slipway.db")
	must.Succeed(t, os.Rename(path, path+".deleted"))
	if got := statusOf(t, e.url+"/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz after the deletion: got status %d, want 503", got)
	}
	if got := e.send(t, e.sign(body), body); got != http.StatusServiceUnavailable {
		t.Errorf("delivery after the deletion: got status %d, want 503", got)
	}
	must.Succeed(t, os.Rename(path+".deleted", path))
	if got := statusOf(t, e.url+"/readyz"); got != http.StatusOK {
		t.Errorf("/readyz after the same file is back: got status %d, want 200", got)
	}
	if got := e.send(t, e.sign(body), body); got/100 != 2 {
		t.Errorf("delivery after the same file is back: got status %d, want 2xx", got)
	}
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	r := must.Get[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
	response := must.Get[*http.Response](t)(http.DefaultClient.Do(r))
	response.Body.Close()
	return response.StatusCode
}

// tryStart opens a gateway and closes it.
func tryStart(t *testing.T, environ []string) error {
	t.Helper()
	c := must.Get[config.Gateway](t)(config.LoadGateway(environ))
	g, err := New(t.Context(), Options{Config: c, Listener: listen(t), Log: discard.Logger()})
	if err == nil {
		g.Close()
	}
	return err
}

func dataOf(t *testing.T, environ []string) string {
	t.Helper()
	return must.Get[config.Gateway](t)(config.LoadGateway(environ)).Data
}

// filesOf returns the content of each file of a data directory, by path.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must.Succeed(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	}))
	return files
}

func nothing(*testing.T, string) {}

// keep returns a function that removes all files except the named ones.
func keep(names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, entry := range must.Get[[]os.DirEntry](t)(os.ReadDir(dir)) {
			if !slices.Contains(names, entry.Name()) {
				must.Succeed(t, os.RemoveAll(filepath.Join(dir, entry.Name())))
			}
		}
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { t.Helper(); must.Succeed(t, os.Remove(filepath.Join(dir, name))) }
}

func truncate(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { t.Helper(); must.Succeed(t, os.Truncate(filepath.Join(dir, name), 0)) }
}

// interrupted leaves the files that a first start has made before its database.
func interrupted(t *testing.T, dir string) {
	t.Helper()
	truncate("gateway")(t, dir)
	truncate("slipway.db")(t, dir)
}

func withoutTables(t *testing.T, dir string) {
	t.Helper()
	remove("slipway.db")(t, dir)
	db := must.Get[*sql.DB](t)(sql.Open("sqlite", filepath.Join(dir, "slipway.db")))
	_, err := db.ExecContext(t.Context(), `VACUUM`)
	must.Succeed(t, errors.Join(err, db.Close()))
}

func onlyLogs(t *testing.T, dir string) {
	t.Helper()
	keep()(t, dir)
	must.Succeed(t, os.Mkdir(filepath.Join(dir, "logs"), 0o700))
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "logs", "a"), []byte("log"), 0o600))
}

func onlyLog(t *testing.T, dir string) {
	t.Helper()
	keep()(t, dir)
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "slipway.db-wal"), []byte("log"), 0o600))
}

func anotherKey(t *testing.T, dir string) {
	t.Helper()
	text := "1 " + strings.Repeat("A", 43) + "=\n"
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "secret.key"), []byte(text), 0o600))
}

func damaged(t *testing.T, dir string) {
	t.Helper()
	f := must.Get[*os.File](t)(os.OpenFile(filepath.Join(dir, "slipway.db"), os.O_RDWR, 0))
	_, err := f.WriteAt(make([]byte, 4096), 2*4096)
	must.Succeed(t, errors.Join(err, f.Close()))
}
