package reporter_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/queue"
)

// A gateway stops during a report. The next gateway sends it.
func TestAnInterruptedReportIsSentByTheNextGateway(t *testing.T) {
	o := newEnv(t)
	b := o.build("r", main1)
	stopping, stop := context.WithCancel(t.Context())
	o.faults.before = stop
	err := o.Report(stopping, b.ID)
	if err == nil {
		t.Error("Report: got nil, want an error")
	}
	if queue.IsPermanent(err) {
		t.Errorf("Report: got the permanent error %v, want one that is retried", err)
	}
	if reported, err := o.store.Reported(t.Context(), b.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("recorded report: got %+v (%v), want none", reported, err)
	}
	o.faults.before = nil
	o.report(b)
	if diff := cmp.Diff(1, len(o.history())); diff != "" {
		t.Errorf("number of statuses after the restart (-want +got):\n%s", diff)
	}
}

// Builds of one rule, ref and commit share a status. A slow report of an older build must not
// replace the newer build's status.
func TestASlowReportDoesNotReplaceANewerStatus(t *testing.T) {
	o := newEnv(t)
	o.Register(o.store.Tasks())
	o.build("r", main1)
	var calls atomic.Int32
	second := make(chan struct{})
	o.faults.before = func() {
		if n := calls.Add(1); n > 1 {
			if n == 2 {
				close(second)
			}
			return
		}
		newer := o.build("r", main1)
		_, err := o.store.CancelBuild(context.WithoutCancel(t.Context()), newer.ID, autobuild.ReasonUser, "")
		if err != nil {
			t.Error(err)
		}
		select {
		case <-second: // the newer build's report comes first
		case <-time.After(500 * time.Millisecond):
		}
	}
	o.work()
	o.wantHistory("INPROGRESS waiting to be built", "STOPPED cancelled: user")
}
