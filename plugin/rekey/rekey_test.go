package rekey_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/rekey"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// S1: the key is replaced under load. The command is killed at one step after another and run again,
// until it is complete. Then the gateways run without the old key.
func TestS1RekeyUnderLoadIsKilledAndContinues(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		l := startLoad(t, e)
		kills := 0
		for at := 1; ; at++ {
			printed, killed, err := e.run(t, at)
			if killed {
				kills++
				continue
			}
			if err != nil {
				t.Fatalf("run after %d kills: got error %v, want none:\n%s", kills, err, printed)
			}
			break
		}
		if kills < 6 {
			t.Errorf("kills: got %d, want one at each kind of step", kills)
		}
		if check := e.check(t); check.Key != 2 || check.Old() != 0 || len(check.Broken) != 0 {
			t.Errorf("values: got %+v, want all with key 2", check)
		}
		for _, at := range []int{1, 2} { // before and after the file is replaced
			if printed, killed, _ := e.run(t, at, runRemoves+"=1"); !killed {
				t.Errorf("step %d of the removal: got no kill, want one:\n%s", at, printed)
			}
		}
		if printed, _, err := e.run(
			t,
			0,
			runRemoves+"=1",
		); err != nil ||
			!strings.Contains(printed, "nothing to remove") {
			t.Errorf("remove the old key again: got %q, error %v, want nothing to remove", printed, err)
		}
		awaitKeys(t, e, 1)
		l.end()
		checkReadable(t, e)
		checkCanaries(t, e)
	})
}

// awaitKeys waits until all gateways have n keys.
func awaitKeys(t *testing.T, e *env, n int) {
	t.Helper()
	tick := time.NewTicker(keysInterval)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for _, s := range e.gateways {
		for {
			keys, _ := s.Keys()
			if len(keys) == n {
				break
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("keys of a gateway: got %v, want %d", keys, n)
			}
		}
	}
}

// checkReadable reads secrets as a gateway that starts with the key file as it is now.
func checkReadable(t *testing.T, e *env) {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(e.dir, "secret.key"), false)
	must.Succeed(t, err)
	if keys := sealer.Keys(); len(keys) != 1 || keys[0].ID != 2 {
		t.Fatalf("keys of the file: got %v, want key 2 only", keys)
	}
	s, err := store.OpenBeside(t.Context(),
		store.Options{Path: filepath.Join(e.dir, "slipway.db"), Postgres: e.database, Sealer: sealer})
	must.Succeed(t, err)
	defer func() { must.Succeed(t, s.Close()) }()
	hooks, err := s.Hooks(t.Context())
	must.Succeed(t, err)
	if len(hooks) != len(e.hooks) {
		t.Errorf("webhooks: got %d, want %d", len(hooks), len(e.hooks))
	}
	accounts, err := s.Accounts(t.Context())
	must.Succeed(t, err)
	if got := accounts[0].RefreshToken.Reveal(); got != canary+"refresh" {
		t.Errorf("refresh token: got %q, want the stored one", got)
	}
	se, err := s.Session(t.Context(), "kept21")
	must.Succeed(t, err)
	if got := se.Grant.RefreshToken.Reveal(); got != canary+"again" {
		t.Errorf("grant of a session: got %q, want the stored one", got)
	}
	form, err := s.FormResult(t.Context(), "kept0", "form")
	must.Succeed(t, err)
	if form.Reveal() != canary+"form" {
		t.Errorf("result of a form: got %q, want the stored one", form.Reveal())
	}
	flow, err := s.TakeOAuthFlow(t.Context(), "kept")
	must.Succeed(t, err)
	if flow.CodeVerifier.Reveal() != canary+"verifier" {
		t.Errorf("code verifier: got %q, want the stored one", flow.CodeVerifier.Reveal())
	}
}

// checkCanaries expects no secret in plain text in the database.
func checkCanaries(t *testing.T, e *env) {
	t.Helper()
	for name, content := range e.content(t) {
		for _, form := range []string{canary, hex.EncodeToString([]byte(canary))} {
			if i := bytes.Index(content, []byte(form)); i >= 0 {
				t.Errorf("%s: got %q, want no secret", name, content[i:min(i+40, len(content))])
			}
		}
	}
}

// content returns the files of a SQLite database, or the rows of each table of PostgreSQL.
func (e *env) content(t *testing.T) map[string][]byte {
	t.Helper()
	content := map[string][]byte{}
	if e.database.IsZero() {
		files, err := filepath.Glob(filepath.Join(e.dir, "*"))
		must.Succeed(t, err)
		for _, file := range files {
			content[file], err = os.ReadFile(file)
			must.Succeed(t, err)
		}
		return content
	}
	db, err := sql.Open("pgx", e.database.Reveal())
	must.Succeed(t, err)
	defer func() { _ = db.Close() }()
	for _, table := range texts(t, db, `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`) {
		content[table] = []byte(strings.Join(texts(t, db, `SELECT t::text FROM `+table+` t`), "\n"))
	}
	return content
}

func texts(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	must.Succeed(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		must.Succeed(t, rows.Scan(&text))
		all = append(all, text)
	}
	must.Succeed(t, rows.Err())
	return all
}

// A run after the last one makes no further key, and changes nothing.
func TestRekeyIsDoneOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		for n, want := range []string{"added key 2", "the change to key 2 is complete"} {
			var printed bytes.Buffer
			must.Succeed(t, rekey.Run(t.Context(), &printed, e.options()))
			for _, line := range []string{want, "and none with another key", "key 1 can be removed"} {
				if !strings.Contains(printed.String(), line) {
					t.Errorf("run %d: got %q, want a line with %q", n, printed.String(), line)
				}
			}
		}
		var printed bytes.Buffer
		must.Succeed(t, rekey.RemoveOldKeys(t.Context(), &printed, e.options()))
		must.Succeed(t, rekey.Run(t.Context(), &printed, e.options()))
		if check := e.check(t); check.Key != 3 || check.Old() != 0 {
			t.Errorf("values after a further change: got %+v, want all with key 3", check)
		}
	})
}

func (e *env) options() rekey.Options {
	return rekey.Options{Config: configOf(e.dir, e.database)}
}

// Old keys stay as long as values need them.
func TestOldKeysAreRemovedAtTheEndOnly(t *testing.T) {
	e := newEnv(t, secret.Secret{}, 1)
	_, err := seal.AddKey(e.options().Config.Key, "", nil)
	must.Succeed(t, err)
	err = rekey.RemoveOldKeys(t.Context(), &bytes.Buffer{}, e.options())
	if err == nil || !strings.Contains(err.Error(), "run `slipway rekey`") {
		t.Errorf("before the change: got error %v, want the fix", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := e.options()
	o.Step = func(what string, done bool) {
		if what == "use key" && done {
			cancel() // before the values are sealed again
		}
	}
	if err := rekey.Run(ctx, &bytes.Buffer{}, o); err == nil {
		t.Error("interrupted run: got no error, want one")
	}
	err = rekey.RemoveOldKeys(t.Context(), &bytes.Buffer{}, e.options())
	if err == nil || !strings.Contains(err.Error(), "older key") {
		t.Errorf("before all values are sealed again: got error %v, want the number of values", err)
	}
	if keys, _ := e.gateways[0].Keys(); len(keys) != 2 {
		t.Errorf("keys: got %v, want both", keys)
	}
}

// S1: values that were swapped between rows are named, stay as they are, and keep the old key.
func TestS1SwappedValuesAreFound(t *testing.T) {
	onBoth(t, func(t *testing.T, e *env) {
		a, b := e.hooks[3].ID, e.hooks[4].ID
		for _, s := range []string{
			`CREATE TABLE swapped (id TEXT, secret BYTEA)`,
			`INSERT INTO swapped SELECT id, secret FROM hooks`,
			`UPDATE hooks SET secret = (SELECT secret FROM swapped WHERE id = 'THEIRS') WHERE id = 'OURS'`,
			`UPDATE hooks SET secret = (SELECT secret FROM swapped WHERE id = 'OURS') WHERE id = 'THEIRS'`,
			`DROP TABLE swapped`,
		} {
			execute(t, e, strings.NewReplacer("OURS", a, "THEIRS", b).Replace(s))
		}
		var printed bytes.Buffer
		err := rekey.Run(t.Context(), &printed, e.options())
		if err == nil || !strings.Contains(err.Error(), "do not open: 2") {
			t.Errorf("rekey: got error %v, want two broken values", err)
		}
		for _, id := range []string{a, b} {
			if !strings.Contains(printed.String(), "hooks/secret/"+id) {
				t.Errorf("output: got %q, want the place of webhook %s", printed.String(), id)
			}
		}
		err = rekey.RemoveOldKeys(t.Context(), &printed, e.options())
		if err == nil || !strings.Contains(err.Error(), "do not open") {
			t.Errorf("remove the old key: got error %v, want a refusal", err)
		}
		execute(t, e, fmt.Sprintf(`DELETE FROM hooks WHERE id IN ('%s', '%s')`, a, b))
		must.Succeed(t, rekey.Run(t.Context(), &printed, e.options()))
		must.Succeed(t, rekey.RemoveOldKeys(t.Context(), &printed, e.options()))
	})
}

func execute(t *testing.T, e *env, statement string) {
	t.Helper()
	driver, address := "sqlite", filepath.Join(e.dir, "slipway.db")
	if !e.database.IsZero() {
		driver, address = "pgx", e.database.Reveal()
	}
	db, err := sql.Open(driver, address)
	must.Succeed(t, err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(), statement)
	must.Succeed(t, err)
}

// With a key file for each gateway, the command changes nothing until all of them have the new key.
func TestAGatewayWithoutTheNewKeyIsNamed(t *testing.T) {
	e := newEnv(t, storetest.NewestPostgres(t), 1)
	elsewhere := t.TempDir()
	copyKey(t, e.dir, elsewhere)
	other := e.start(t, elsewhere)
	e.gateways = append(e.gateways, other)
	l := startLoad(t, e)
	o := e.options()
	o.Wait = time.Second
	err := rekey.Run(t.Context(), &bytes.Buffer{}, o)
	want := "gateway " + other.Gateway() + ": it does not have key 2: copy " + o.Config.Key
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("rekey: got error %v, want %q", err, want)
	}
	if strings.Contains(fmt.Sprint(err), e.gateways[0].Gateway()) {
		t.Errorf("rekey: got error %v, want one without the gateway that has the key", err)
	}
	if check := e.check(t); check.Key != 1 {
		t.Errorf("key in use: got %d, want 1", check.Key)
	}
	copyKey(t, e.dir, elsewhere)
	must.Succeed(t, rekey.Run(t.Context(), &bytes.Buffer{}, e.options()))
	l.end()
	if diff := cmp.Diff(0, e.check(t).Old()); diff != "" {
		t.Errorf("values of old keys (-want +got):\n%s", diff)
	}
}

func copyKey(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(from, "secret.key"))
	must.Succeed(t, err)
	must.Succeed(t, os.WriteFile(filepath.Join(to, "copy"), content, 0o600))
	must.Succeed(t, os.Rename(filepath.Join(to, "copy"), filepath.Join(to, "secret.key")))
}

// A gateway of an older version, which does not report its keys, is named too.
func TestAGatewayThatDoesNotReportIsNamed(t *testing.T) {
	e := newEnv(t, storetest.NewestPostgres(t), 1)
	sealer, err := seal.LoadOrCreate(e.options().Config.Key, false)
	must.Succeed(t, err)
	old := storetest.OpenPostgresAt(t, e.database, sealer, nil)
	_, err = old.Hold(t.Context(), "gateway/"+old.Gateway(), time.Minute)
	must.Succeed(t, err)
	o := e.options()
	o.Wait = time.Millisecond
	err = rekey.Run(t.Context(), &bytes.Buffer{}, o)
	if want := "gateway " + old.Gateway() + ": it does not report its keys: restart it"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("rekey: got error %v, want %q", err, want)
	}
}

// The new key can be brought to the gateways in another way, for example as a secret of Kubernetes.
func TestAKeyFileThatIsReplacedByHand(t *testing.T) {
	e := newEnv(t, secret.Secret{}, 1)
	o := e.options()
	o.Write = filepath.Join(t.TempDir(), "new.key")
	var printed bytes.Buffer
	must.Succeed(t, rekey.Run(t.Context(), &printed, o))
	if !strings.Contains(printed.String(), "replace "+o.Config.Key) {
		t.Errorf("output: got %q, want the next step", printed.String())
	}
	if check := e.check(t); check.Key != 1 {
		t.Errorf("key in use: got %d, want 1", check.Key)
	}
	must.Succeed(t, os.Rename(o.Write, o.Config.Key))
	must.Succeed(t, rekey.Run(t.Context(), &printed, e.options()))
	if check := e.check(t); check.Key != 2 || check.Old() != 0 {
		t.Errorf("values: got %+v, want all with key 2", check)
	}
}
