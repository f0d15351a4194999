package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// A snapshot of either database, with rows in every table and an old schema, becomes a database of either kind.
func TestSnapshotsMoveBetweenDatabases(t *testing.T) {
	for _, from := range []string{"SQLite", "PostgreSQL"} {
		t.Run("from "+from, func(t *testing.T) {
			o := filled(t, from)
			path := filepath.Join(t.TempDir(), "snapshot.db")
			must.Succeed(t, store.WriteSnapshot(t.Context(), o, path))
			check := checkFilled(t, path)
			must.Succeed(t, store.PrepareSnapshot(t.Context(), path, storedKey(t), time.UnixMilli(5000)))

			t.Run("to SQLite", func(t *testing.T) {
				useRestored(t, store.Options{Path: path, Sealer: storedKey(t)}, check)
			})
			t.Run("to PostgreSQL", func(t *testing.T) {
				address := storetest.PostgresAddress(t)
				log := store.LogFile{BuildID: "build", Attempt: 1, Path: filepath.Join(t.TempDir(), "1.log"), Own: 3}
				must.Succeed(t, os.WriteFile(log.Path, []byte(strings.Repeat("line\n", 100_000)), 0o600))
				logs := slices.Values([]store.LogFile{log})
				for range 2 { // the second one replaces the rows of the first
					must.Succeed(t, store.LoadPostgres(t.Context(), address, path, logs))
				}
				compareRows(t, path, address.Reveal())
				s := useRestored(t, store.Options{Postgres: address, Sealer: storedKey(t)}, check)
				ends, err := s.LogEnds(t.Context())
				must.Succeed(t, err)
				want := []store.LogEnd{{BuildID: "build", Attempt: 1, Size: 500_000, Own: 3}}
				if diff := cmp.Diff(want, ends); diff != "" {
					t.Errorf("logs (-want +got):\n%s", diff)
				}
				text, err := s.ReadLog(t.Context(), "build", 1, 499_990, 100)
				if string(text) != "line\nline\n" || err != nil {
					t.Errorf("end of the log: got %q, error %v, want two lines", text, err)
				}
			})
		})
	}
}

// A gateway of an older version uses the database: it could not start again with a newer schema.
func TestARefusedLoadDoesNotMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot.db")
	must.Succeed(t, store.WriteSnapshot(t.Context(), filled(t, "SQLite"), path))
	must.Succeed(t, store.PrepareSnapshot(t.Context(), path, storedKey(t), time.UnixMilli(5000)))
	o := filled(t, "PostgreSQL")
	db, err := sql.Open("pgx", o.Postgres.Reveal())
	must.Succeed(t, err)
	t.Cleanup(func() { _ = db.Close() })
	execute(t, db, fmt.Sprintf(`INSERT INTO leases (name, holder, until) VALUES ('gateway/old', 'old', %d)`,
		time.Now().Add(time.Hour).UnixMilli()))
	err = store.LoadPostgres(t.Context(), o.Postgres, path, slices.Values([]store.LogFile(nil)))
	if err == nil || !strings.Contains(err.Error(), "gateways use this database") {
		t.Errorf("load: got error %v, want the running gateway", err)
	}
	var version int
	must.Succeed(t, db.QueryRowContext(t.Context(), `SELECT MAX(version_id) FROM goose_db_version`).Scan(&version))
	if version != firstStored {
		t.Errorf("schema after a refused load: got version %d, want %d", version, firstStored)
	}
}

// filled returns a database of version 5 with rows in every table.
func filled(t *testing.T, kind string) store.Options {
	t.Helper()
	if kind == "SQLite" {
		path := filepath.Join(t.TempDir(), "slipway.db")
		fill(t, "sqlite", path, goose.DialectSQLite3, firstStored)
		return store.Options{Path: path, Sealer: storedKey(t)}
	}
	address := storetest.PostgresAddress(t)
	fill(t, "pgx", address.Reveal(), goose.DialectPostgres, firstStored)
	return store.Options{Postgres: address, Sealer: storedKey(t)}
}

func checkFilled(t *testing.T, path string) store.SnapshotCheck {
	t.Helper()
	check, err := store.CheckSnapshot(t.Context(), path, storedKey(t))
	must.Succeed(t, err)
	if check.Schema != 5 {
		t.Errorf("schema: got %d, want 5", check.Schema)
	}
	for _, table := range storedTables(t, firstStored) {
		want := int64(len(table.Rows))
		if table.Name == "logs" || table.Name == "log_chunks" {
			continue
		}
		if got := check.Rows[table.Name]; got != want {
			t.Errorf("rows of %s: got %d, want %d", table.Name, got, want)
		}
	}
	if check.Sealed < 8 {
		t.Errorf("sealed values: got %d, want at least 8", check.Sealed)
	}
	if len(check.Unreadable) != 0 {
		t.Errorf("unreadable values: got %v, want none", check.Unreadable)
	}
	return check
}

// useRestored opens a restored database as a gateway does.
func useRestored(t *testing.T, o store.Options, check store.SnapshotCheck) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, s.Close()) })
	id, err := s.InstanceID(t.Context())
	must.Succeed(t, err)
	if id != check.Instance {
		t.Errorf("id of the installation: got %s, want %s", id, check.Instance)
	}
	if got, err := s.SessionCounts(t.Context()); len(got) != 0 || err != nil {
		t.Errorf("sessions: got %v, error %v, want none: an ended one must not live again", got, err)
	}
	hooks, err := s.Hooks(t.Context())
	must.Succeed(t, err)
	if len(hooks) != 1 || hooks[0].Secret.Reveal() != "hook secret" {
		t.Errorf("webhooks: got %d, want one with its secret", len(hooks))
	}
	return s
}

// compareRows compares all tables but logs of a SQLite file and a PostgreSQL database.
func compareRows(t *testing.T, path, address string) {
	t.Helper()
	file := openFile(t, path)
	server, err := sql.Open("pgx", address)
	must.Succeed(t, err)
	t.Cleanup(func() { _ = server.Close() })
	for _, table := range texts(t, file, `SELECT name FROM sqlite_schema WHERE type = 'table'
		AND name NOT LIKE 'sqlite_%' AND name NOT IN ('goose_db_version', 'logs', 'log_chunks')`) {
		want, got := rowsOf(t, file, table), rowsOf(t, server, table)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows of %s (-SQLite +PostgreSQL):\n%s", table, diff)
		}
	}
}

func rowsOf(t *testing.T, db *sql.DB, table string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT * FROM `+table)
	must.Succeed(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must.Succeed(t, err)
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		must.Succeed(t, rows.Scan(into...))
		for i, v := range values {
			if v, ok := v.(bool); ok { // SQLite has numbers
				values[i] = map[bool]int64{false: 0, true: 1}[v]
			}
		}
		if values[0] == "restored_at" {
			values[1] = "" // PostgreSQL has its own server's time
		}
		all = append(all, fmt.Sprintf("%s %#v", columns, values))
	}
	must.Succeed(t, rows.Err())
	slices.Sort(all)
	return all
}

func openFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must.Succeed(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// texts returns the only column of a query.
func texts(t *testing.T, db *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	must.Succeed(t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		must.Succeed(t, rows.Scan(&text))
		all = append(all, text)
	}
	must.Succeed(t, rows.Err())
	return all
}

// A damaged snapshot and a wrong key are found.
func TestASnapshotIsChecked(t *testing.T) {
	o := filled(t, "SQLite")
	path := filepath.Join(t.TempDir(), "snapshot.db")
	must.Succeed(t, store.WriteSnapshot(t.Context(), o, path))
	db := openFile(t, path)
	execute(t, db, `UPDATE accounts SET access_token = refresh_token`)
	check, err := store.CheckSnapshot(t.Context(), path, storedKey(t))
	must.Succeed(t, err)
	if len(check.Unreadable) != 1 || !strings.HasPrefix(check.Unreadable[0], "accounts/access_token/") {
		t.Errorf("unreadable values: got %v, want the access token", check.Unreadable)
	}
	wrong, err := seal.New(1, map[byte][]byte{1: make([]byte, seal.KeySize)})
	must.Succeed(t, err)
	if _, err := store.CheckSnapshot(t.Context(), path, wrong); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("another key: got error %v, want ErrWrongKey", err)
	}
	execute(t, db, `DELETE FROM builds`) // its attempts and reports stay, because foreign keys are off
	if _, err := store.CheckSnapshot(t.Context(), path, nil); err == nil {
		t.Error("rows without the row that they refer to: got no error, want one")
	}
}

// AfterRestore holds the builds that a backup has as unfinished until their refs were read.
func TestF25AfterARestoreOldBuildsWaitAndMovedOnesEnd(t *testing.T) {
	dir, clock := t.TempDir(), storetest.NewClock()
	s := storetest.OpenAt(t, dir, clock.Now)
	a := storetest.AutomatedBuild(t, s, storetest.Repository("app"))
	hook, err := s.SaveHook(t.Context(), autobuild.Hook{Repository: a.Repository, AccountID: "account",
		Secret: secret.New("s"), State: autobuild.HookActive})
	must.Succeed(t, err)
	old, _ := storetest.Started(t, s, a, storetest.Commit(1), storetest.Commit(2))
	want := func(what string, b autobuild.Build, want autobuild.AfterRestore) {
		t.Helper()
		got, err := s.AfterRestore(t.Context(), b)
		must.Succeed(t, err)
		if got != want {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	want("without a restore", old, autobuild.AfterRestore{})
	clock.Add(time.Hour)
	execute(t, openFile(t, filepath.Join(dir, "slipway.db")),
		fmt.Sprintf(`INSERT INTO instance VALUES ('restored_at', CAST('%d' AS BLOB))`, clock.Now().UnixMilli()))
	want("after a restore", old, autobuild.AfterRestore{Unpolled: true})
	clock.Add(time.Minute)
	want("a minute later", old, autobuild.AfterRestore{Unpolled: true, Waited: time.Minute})
	must.Succeed(t, s.TouchHook(t.Context(), hook.ID, time.Time{}, clock.Now()))
	want("after a poll", old, autobuild.AfterRestore{})
	later, err := s.Plan(t.Context(), storetest.Push(a, storetest.Main(), storetest.Commit(2), storetest.Commit(3)))
	must.Succeed(t, err)
	want("after a newer push", old, autobuild.AfterRestore{Moved: true})
	want("the newer push", later[0], autobuild.AfterRestore{})
	old.Publish = false
	want("a build that publishes nothing", old, autobuild.AfterRestore{})
}

// The wait counts from the first start of a gateway after the restore, and later starts do not matter.
func TestF25TheWaitAfterARestoreSurvivesRestarts(t *testing.T) {
	dir, clock := t.TempDir(), storetest.NewClock()
	var old autobuild.Build
	t.Run("before", func(t *testing.T) {
		s := storetest.OpenAt(t, dir, clock.Now)
		a := storetest.AutomatedBuild(t, s, storetest.Repository("app"))
		_, err := s.SaveHook(t.Context(), autobuild.Hook{Repository: a.Repository, AccountID: "account",
			Secret: secret.New("s"), State: autobuild.HookActive})
		must.Succeed(t, err)
		old, _ = storetest.Started(t, s, a, storetest.Commit(1), storetest.Commit(2))
	})
	for _, restore := range []string{"a restore", "a further restore"} {
		clock.Add(time.Hour)
		execute(t, openFile(t, filepath.Join(dir, "slipway.db")),
			fmt.Sprintf(`INSERT OR REPLACE INTO instance VALUES ('restored_at', CAST('%d' AS BLOB))`,
				clock.Now().UnixMilli()))
		clock.Add(48 * time.Hour) // nothing runs
		for _, waited := range []time.Duration{0, 20 * time.Hour, 40 * time.Hour} {
			t.Run(fmt.Sprint(restore, ", after ", waited), func(t *testing.T) {
				got, err := storetest.OpenAt(t, dir, clock.Now).AfterRestore(t.Context(), old)
				must.Succeed(t, err)
				if want := (autobuild.AfterRestore{Unpolled: true, Waited: waited}); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			})
			clock.Add(20 * time.Hour)
		}
	}
}

// EndRestored ends only the builds of the given refs that the backup has as unfinished.
func TestEndRestoredEndsTheBuildsOfUnreadRefs(t *testing.T) {
	dir, clock := t.TempDir(), storetest.NewClock()
	s := storetest.OpenAt(t, dir, clock.Now)
	a := storetest.AutomatedBuild(t, s, storetest.Repository("app"))
	push := func(branch string, from, to int) autobuild.Build {
		t.Helper()
		ref := autobuild.Ref{Kind: autobuild.Branch, Name: branch}
		commits := [2]string{"", storetest.Commit(to)}
		if from > 0 {
			commits[0] = storetest.Commit(from)
		}
		return must.Get[[]autobuild.Build](t)(s.Plan(t.Context(), storetest.Push(a, ref, commits[0], commits[1])))[0]
	}
	hook := autobuild.Hook{Repository: a.Repository, PolledAt: clock.Now()}
	end := func(want bool) {
		t.Helper()
		details := map[autobuild.Ref]string{storetest.Main(): "the reason"}
		got := must.Get[bool](t)(s.EndRestored(t.Context(), hook, details))
		if got != want {
			t.Errorf("builds wait for the first poll after a restore: got %t, want %t", got, want)
		}
	}
	old, other := push("main", 0, 1), push("other", 0, 2)
	end(false)
	if got := must.Get[autobuild.Build](t)(s.Build(t.Context(), old.ID)); got.State != autobuild.Queued {
		t.Errorf("build without a restore: got %s, want queued", got.State)
	}
	clock.Add(time.Hour)
	execute(t, openFile(t, filepath.Join(dir, "slipway.db")),
		fmt.Sprintf(`INSERT INTO instance VALUES ('restored_at', CAST('%d' AS BLOB))`, clock.Now().UnixMilli()))
	clock.Add(time.Minute)
	later := push("main", 1, 3)
	end(true)
	end(true) // again
	got := must.Get[autobuild.Build](t)(s.Build(t.Context(), old.ID))
	if got.State != autobuild.Cancelled || got.Reason != autobuild.ReasonRestored || got.Detail != "the reason" {
		t.Errorf("build of the ref: got %s (%s, %s), want cancelled with the reason", got.State, got.Reason, got.Detail)
	}
	hook.PolledAt = clock.Now()
	end(false)
	for _, b := range []autobuild.Build{other, later} {
		if got := must.Get[autobuild.Build](t)(s.Build(t.Context(), b.ID)); got.State != autobuild.Queued {
			t.Errorf("build of %s: got %s, want queued", b.Ref.Name, got.State)
		}
	}
}
