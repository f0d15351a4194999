package reporter_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// What fails before the provider is asked is no answer of the provider's.
func TestS5InternalErrorsAreRetried(t *testing.T) {
	o := newOffice(t)
	b := o.build("one", main1)
	o.account.err = errors.New("database is locked")
	o.wantSnooze(b, 2*time.Second)
	o.account.err = nil
	db, err := sql.Open("sqlite", filepath.Join(o.dir, "slipway.db"))
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), "ALTER TABLE automated_builds RENAME TO away")
	must(t, err)
	o.wantSnooze(b, 2*time.Second)
	_, err = db.ExecContext(t.Context(), "ALTER TABLE away RENAME TO automated_builds")
	must(t, err)
	o.report(b)
	o.wantHistory("INPROGRESS waiting to be built")
}
