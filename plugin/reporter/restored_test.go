package reporter_test

import (
	"context"
	"testing"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/reporter"
	"slipway/plugin/store"
)

// F25: the status of a build that only a restored backup has as unfinished stays as it is, until the build starts
// again. The build may have succeeded after the backup.
func TestF25AStatusDoesNotGoBackAfterARestore(t *testing.T) {
	o := newEnv(t)
	s := &restoredStore{Store: o.store}
	r := reporter.New(reporter.Options{
		Store: s, Connector: o.account, URL: "https://slipway.example.com", Now: o.clock, Log: discard.Logger(),
	})
	b := o.build("releases", main1)
	for _, s.after = range []autobuild.AfterRestore{{Unpolled: true}, {Moved: true}} {
		must.Succeed(t, r.Report(t.Context(), b.ID))
	}
	if got := o.app.StatusHistory(o.commit.Hash); len(got) != 0 {
		t.Errorf("statuses before the build starts again: got %+v, want none", got)
	}
	s.after = autobuild.AfterRestore{}
	o.run(b)
	must.Succeed(t, r.Report(t.Context(), b.ID))
	o.wantHistory("INPROGRESS building")
	_, err := o.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonRestored, "its ref moved")
	must.Succeed(t, err)
	must.Succeed(t, r.Report(t.Context(), b.ID))
	o.wantHistory("INPROGRESS building")
}

// A restoredStore is a store after a restore.
type restoredStore struct {
	*store.Store
	after autobuild.AfterRestore
}

func (s *restoredStore) AfterRestore(context.Context, autobuild.Build) (autobuild.AfterRestore, error) {
	return s.after, nil
}
