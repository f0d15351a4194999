package reporter_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"slipway/config/must"
)

// S5: An error before the call to the provider does not count as the provider's response.
func TestS5InternalErrorsAreRetried(t *testing.T) {
	o := newEnv(t)
	b := o.build("one", main1)
	o.account.err = errors.New("database is locked")
	o.wantSnooze(b, 2*time.Second)
	o.account.err = nil
	db, err := sql.Open("sqlite", filepath.Join(o.dir, "slipway.db"))
	must.Succeed(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), "ALTER TABLE automated_builds RENAME TO away")
	must.Succeed(t, err)
	o.wantSnooze(b, 2*time.Second)
	_, err = db.ExecContext(t.Context(), "ALTER TABLE away RENAME TO automated_builds")
	must.Succeed(t, err)
	o.report(b)
	o.wantHistory("INPROGRESS waiting to be built")
}
