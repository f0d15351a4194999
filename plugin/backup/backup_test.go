package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/backup"
	"slipway/plugin/logs"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) {
	if data := os.Getenv(killedVariable); data != "" {
		createUntilKilled(data)
	}
	os.Exit(storetest.RunBesidePostgres(m))
}

// An env is the data directory of a gateway that runs, with one build and its log.
type env struct {
	t     *testing.T
	dir   string
	key   string
	store *store.Store
	logs  *logs.Logs
	o     store.Options
	build autobuild.Build
}

// newEnv returns an env on SQLite or PostgreSQL.
func newEnv(t *testing.T, postgres bool) *env {
	t.Helper()
	e := &env{t: t, dir: t.TempDir()}
	e.key = filepath.Join(e.dir, "secret.key")
	sealer, err := seal.LoadOrCreate(e.key, true)
	must.Succeed(t, err)
	e.o = store.Options{Path: filepath.Join(e.dir, "slipway.db"), Sealer: sealer}
	logOptions := logs.Options{Dir: filepath.Join(e.dir, "logs")}
	if postgres {
		e.o.Postgres = storetest.NewestPostgres(t)
		e.store = storetest.OpenPostgresAt(t, e.o.Postgres, sealer, nil)
		logOptions.Store = e.store
	} else {
		e.store = storetest.OpenAt(t, e.dir, time.Now)
	}
	e.logs = logs.New(logOptions)
	a := storetest.AutomatedBuild(t, e.store, storetest.Repository("app"))
	_, err = e.store.SaveRegistry(t.Context(),
		autobuild.Registry{Host: "registry.example.com", Username: "u", Password: secret.New("p")})
	must.Succeed(t, err)
	e.build, _ = storetest.Started(t, e.store, a, storetest.Commit(1), storetest.Commit(2))
	_, err = e.logs.Append(t.Context(), e.build.ID, 1, 0, []byte("step 1\n"))
	must.Succeed(t, err)
	must.Succeed(t, e.logs.Line(t.Context(), e.build.ID, 1, "a line of the gateway"))
	return e
}

func (e *env) installation() backup.Installation {
	return backup.Installation{
		Store: e.o, Logs: filepath.Join(e.dir, "logs"), Key: e.key, URL: "https://slipway.example.com", Version: "1.0",
	}
}

// backUp writes a backup with a name of its own.
func (e *env) backUp(withKey bool) string {
	e.t.Helper()
	file := filepath.Join(e.t.TempDir(), "slipway.backup")
	_, err := backup.Create(e.t.Context(), e.installation(), file, withKey, false)
	must.Succeed(e.t, err)
	return file
}

// A target is an empty data directory, on SQLite or PostgreSQL.
func target(t *testing.T, file string, postgres bool) backup.RestoreOptions {
	t.Helper()
	dir := t.TempDir()
	o := backup.RestoreOptions{File: file, Data: dir, Key: filepath.Join(dir, "secret.key"), Now: time.Now()}
	if postgres {
		o.Postgres = storetest.PostgresAddress(t)
	}
	return o
}

// open opens a restored installation.
func open(t *testing.T, o backup.RestoreOptions) (*store.Store, *logs.Logs) {
	t.Helper()
	sealer, err := seal.LoadOrCreate(o.Key, false)
	must.Succeed(t, err)
	s, err := store.Open(t.Context(), store.Options{
		Path: filepath.Join(o.Data, "slipway.db"), Postgres: o.Postgres, Sealer: sealer,
	})
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, s.Close()) })
	logOptions := logs.Options{Dir: filepath.Join(o.Data, "logs")}
	if !o.Postgres.IsZero() {
		logOptions.Store = s
	}
	return s, logs.New(logOptions)
}

// A backup of a running gateway restores to both databases, with its logs and secrets.
func TestABackupRestoresToBothDatabases(t *testing.T) {
	for _, from := range []bool{false, true} {
		for _, to := range []bool{false, true} {
			t.Run(fmt.Sprintf("PostgreSQL %t to PostgreSQL %t", from, to), func(t *testing.T) {
				e := newEnv(t, from)
				o := target(t, e.backUp(true), to)
				restored, err := backup.Restore(t.Context(), o)
				must.Succeed(t, err)
				if restored.Logs() != 1 || !restored.KeyWritten || restored.Aside != "" {
					t.Errorf("restored: got %+v, want one log, the key, and no earlier files", restored)
				}
				s, l := open(t, o)
				e.compare(s, l)
				left, _ := filepath.Glob(filepath.Join(o.Data, ".*"))
				if len(left) != 0 {
					t.Errorf("work files: got %v, want none", left)
				}
			})
		}
	}
}

// compare checks a restored installation.
func (e *env) compare(s *store.Store, l *logs.Logs) {
	e.t.Helper()
	ctx := e.t.Context()
	got, err := s.Build(ctx, e.build.ID)
	must.Succeed(e.t, err)
	want, err := e.store.Build(ctx, e.build.ID)
	must.Succeed(e.t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		e.t.Errorf("build (-want +got):\n%s", diff)
	}
	registries, err := s.Registries(ctx)
	if err != nil || len(registries) != 1 || registries[0].Password.Reveal() != "p" {
		e.t.Errorf("registries: got %d, error %v, want one with its password", len(registries), err)
	}
	const log = "step 1\na line of the gateway\n"
	text, err := l.Read(ctx, e.build.ID, 1, 0, 1000)
	if string(text) != log || err != nil {
		e.t.Errorf("log: got %q, error %v, want %q", text, err, log)
	}
	// A runner continues where it was: its offsets do not count the gateway's line.
	if size, err := l.Append(ctx, e.build.ID, 1, 7, []byte("step 2\n")); size != 14 || err != nil {
		e.t.Errorf("size of the runner's output: got %d, error %v, want 14", size, err)
	}
}

// Every delivery that was acknowledged before the backup began is in it.
func TestABackupUnderLoadHasAllAcknowledgedDeliveries(t *testing.T) {
	for _, postgres := range []bool{false, true} {
		t.Run(fmt.Sprintf("PostgreSQL %t", postgres), func(t *testing.T) {
			e := newEnv(t, postgres)
			d := newDeliveries(e.store)
			stop, ended := context.WithCancel(t.Context())
			var senders sync.WaitGroup
			for range 8 {
				senders.Go(func() { d.send(stop) })
			}
			for range 3 {
				d.wait(20)
				acknowledged := d.all()
				o := target(t, e.backUp(true), false)
				_, err := backup.Restore(t.Context(), o)
				must.Succeed(t, err)
				s, _ := open(t, o)
				for _, id := range acknowledged {
					if _, err := s.Delivery(t.Context(), id); err != nil {
						t.Errorf(
							"delivery %s was acknowledged before the backup: got error %v, want it stored",
							id,
							err,
						)
					}
				}
			}
			ended()
			senders.Wait()
			must.Succeed(t, d.err)
		})
	}
}

// deliveries are stored as fast as the database takes them.
type deliveries struct {
	store *store.Store
	mu    sync.Mutex
	more  sync.Cond
	ids   []string // acknowledged
	err   error
}

func newDeliveries(s *store.Store) *deliveries {
	d := &deliveries{store: s}
	d.more.L = &d.mu
	return d
}

func (d *deliveries) send(ctx context.Context) {
	for ctx.Err() == nil {
		id, err := d.store.ReceiveDelivery(context.WithoutCancel(ctx), autobuild.Delivery{
			HookID: "hook", Event: "repo:push", Body: bytes.Repeat([]byte("x"), 5000),
		})
		d.mu.Lock()
		d.ids, d.err = append(d.ids, id), errors.Join(d.err, err)
		d.mu.Unlock()
		d.more.Broadcast()
	}
}

// wait waits for n further deliveries.
func (d *deliveries) wait(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for until := len(d.ids) + n; len(d.ids) < until && d.err == nil; {
		d.more.Wait()
	}
}

func (d *deliveries) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.ids...)
}

func TestTheKeyIsAddedOnlyIfTold(t *testing.T) {
	e := newEnv(t, false)
	file := e.backUp(false)
	o := target(t, file, false)
	_, err := backup.Restore(t.Context(), o)
	wantError(t, err, "it has no key", o.Key, "put the key file")
	wantEmpty(t, o.Data)

	key, err := os.ReadFile(e.key)
	must.Succeed(t, err)
	must.Succeed(t, os.WriteFile(o.Key, key, 0o600)) // from where it was kept
	restored, err := backup.Restore(t.Context(), o)
	must.Succeed(t, err)
	if restored.KeyWritten {
		t.Error("key file: got it written, want the existing one")
	}
	e.compare(open(t, o))

	other := target(t, file, false)
	_, err = seal.LoadOrCreate(other.Key, true)
	must.Succeed(t, err)
	_, err = backup.Restore(t.Context(), other)
	wantError(t, err, other.Key, "does not belong to it")
	other.File = e.backUp(true)
	_, err = backup.Restore(t.Context(), other)
	wantError(t, err, other.Key, "is another key than the backup's", "--replace")
	other.Replace = true
	_, err = backup.Restore(t.Context(), other)
	must.Succeed(t, err)
	e.compare(open(t, other))
}

// `slipway rekey --remove-old-keys` ends while a backup is written: its key would not open its database.
func TestAKeyThatIsReplacedDuringABackup(t *testing.T) {
	e := newEnv(t, false)
	in := e.installation() // has read the key file
	id, err := seal.AddKey(e.key, "", nil)
	must.Succeed(t, err)
	_, err = seal.KeepKey(e.key, id)
	must.Succeed(t, err)
	dir := t.TempDir()
	_, err = backup.Create(t.Context(), in, filepath.Join(dir, "file"), true, false)
	wantError(t, err, "the key file was changed meanwhile: run the backup again")
	wantEmpty(t, dir)
}

// The directory of the logs may have any name. A backup without logs that exist is an error.
func TestABackupMissesNoLogs(t *testing.T) {
	e := newEnv(t, false)
	in := e.installation()
	in.Logs = filepath.Join(e.dir, "logs[1]")
	must.Succeed(t, os.Rename(filepath.Join(e.dir, "logs"), in.Logs))
	result, err := backup.Create(t.Context(), in, filepath.Join(t.TempDir(), "file"), false, false)
	must.Succeed(t, err)
	if result.Logs() != 1 {
		t.Errorf("logs: got %d, want 1", result.Logs())
	}
	in.Logs = e.key
	_, err = backup.Create(t.Context(), in, filepath.Join(t.TempDir(), "file"), false, false)
	wantError(t, err, e.key, "not a directory")
}

func TestABackupFileIsSecretAndNeverReplaced(t *testing.T) {
	e := newEnv(t, false)
	file := e.backUp(true)
	info, err := os.Stat(file)
	must.Succeed(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode: got %v, want 0600", info.Mode())
	}
	_, err = backup.Create(t.Context(), e.installation(), file, false, false)
	wantError(t, err, file, "it exists", "--force")
	_, err = backup.Create(t.Context(), e.installation(), file, false, true)
	must.Succeed(t, err)
	_, err = backup.Create(t.Context(), e.installation(), filepath.Dir(file), false, true)
	wantError(t, err, "it is a directory", "slipway.backup")
	_, err = backup.Create(t.Context(), e.installation(), filepath.Join(e.dir, "none", "file"), false, false)
	wantError(t, err, "no such file or directory")
	_, err = backup.Create(t.Context(), e.installation(), "/dev/null", false, true)
	wantError(t, err, "/dev/null", "no regular file")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(left) != 1 {
		t.Errorf("files: got %v, want the backup alone", left)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) != 0 {
		t.Errorf("work files: got %v, want none", left)
	}
}

func TestAnInstallationIsReplacedOnlyIfTold(t *testing.T) {
	for _, postgres := range []bool{false, true} {
		t.Run(fmt.Sprintf("PostgreSQL %t", postgres), func(t *testing.T) {
			e := newEnv(t, false)
			o := target(t, e.backUp(true), postgres)
			_, err := backup.Restore(t.Context(), o)
			must.Succeed(t, err)
			_, err = backup.Restore(t.Context(), o)
			wantError(t, err, "--replace")
			o.Replace = true
			restored, err := backup.Restore(t.Context(), o)
			must.Succeed(t, err)
			if (restored.Aside == "") != postgres {
				t.Errorf("directory of the earlier files: got %q, want one: %t", restored.Aside, !postgres)
			}
			if _, err := os.Stat(filepath.Join(restored.Aside, "slipway.db")); !postgres && err != nil {
				t.Errorf("earlier database: got error %v, want it kept", err)
			}
			e.compare(open(t, o))
		})
	}
}

func TestARunningGatewayOnPostgreSQLIsNotReplaced(t *testing.T) {
	e := newEnv(t, true)
	held, err := e.store.Hold(t.Context(), "gateway/other", time.Hour)
	must.Succeed(t, err)
	if !held {
		t.Fatal("lease: got none, want it held")
	}
	o := target(t, e.backUp(true), false)
	o.Postgres, o.Replace = e.o.Postgres, true
	_, err = backup.Restore(t.Context(), o)
	wantError(t, err, "1 gateways use this database: stop all of them")
	if _, err := e.store.Build(t.Context(), e.build.ID); err != nil {
		t.Errorf("build: got error %v, want it kept", err)
	}
	wantEmpty(t, o.Data)
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error: got %v, want %q in it", err, part)
		}
	}
}

// wantEmpty expects that a failed restore left nothing.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must.Succeed(t, err)
	if len(entries) != 0 {
		t.Errorf("files after a failed restore: got %v, want none", entries)
	}
}
