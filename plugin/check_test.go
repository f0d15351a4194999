package plugin

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/store/storetest"
)

// The check of a new program passes if its start would migrate the database, and changes nothing.
func TestTheCheckOfAGatewayReadsItsDatabase(t *testing.T) {
	const newest = `(SELECT MAX(version_id) FROM goose_db_version)`
	for name, c := range map[string]struct {
		statement string // changes the database
		want      string // in the error; "" = none
	}{
		"the same schema":   {`SELECT 1`, ""},
		"an earlier schema": {`DELETE FROM goose_db_version WHERE version_id = ` + newest, ""},
		"a later schema": {
			`UPDATE goose_db_version SET version_id = version_id + 1 WHERE version_id = ` + newest,
			"upgraded the database",
		},
		"no installation": {`DELETE FROM instance`, "no installation"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Run("prepare", func(t *testing.T) { storetest.OpenAt(t, dir, time.Now) }) // closes it
			file := filepath.Join(dir, "slipway.db")
			db := must.Get[*sql.DB](t)(sql.Open("sqlite", file))
			_, err := db.ExecContext(t.Context(), c.statement)
			must.Succeed(t, errors.Join(err, db.Close()))
			before := must.Get[[]byte](t)(os.ReadFile(file))
			t.Setenv("SLIPWAY_URL", "http://127.0.0.1:1")
			t.Setenv("SLIPWAY_DATA", dir)
			err = checkGateway(t.Context())
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("check: got error %v, want %q", err, c.want)
			}
			if after := must.Get[[]byte](t)(os.ReadFile(file)); string(after) != string(before) {
				t.Error("database: got it changed, want it as before")
			}
		})
	}
}
