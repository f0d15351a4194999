package planner_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
)

// F17: Two processes plan deliveries of one repository concurrently, so that refs move between a
// decision and its transaction. Every delivery is answered, and the stored refs end at the
// provider's heads.
func TestF17DeliveriesPlannedByTwoProcessesAtOnceAreEachTransitionOnce(t *testing.T) {
	w, p := newFakeCloudEnv(t)
	d := &chaosEnv{Env: w, commits: p.commits, heads: map[string]string{}, remote: p.push}
	d.reset()
	d.watch()
	for i := range 12 {
		d.push(map[string]string{refNames[i%3]: d.commits[i/3], refNames[3]: d.commits[i%4]})
	}
	ids := make(chan string, len(d.sent))
	for _, p := range d.sent { // the deliveries of the two webhooks follow each other
		ids <- d.storeDelivery(p)
	}
	close(ids)
	meet := make(chan struct{})
	d.Faults.Before = func() { // both processes call at the same time, if both have a call
		select {
		case meet <- struct{}{}:
		case <-meet:
		case <-time.After(20 * time.Millisecond):
		}
	}
	conflicts := d.deliverAll(ids)
	d.Faults.Before = nil
	must.Succeed(t, d.Poll(t.Context(), d.Hook))
	built := map[string]string{} // commit by image, ref and seq
	last := map[string]autobuild.Build{}
	for _, b := range d.allBuilds() {
		one := line(b.Image, b.Ref.Full(), b.Seq, "")
		if _, twice := built[one]; twice {
			t.Errorf("builds of %s: got two, want one", one)
		}
		built[one] = b.Commit.Hash
		if key := b.Image + " " + b.Ref.Full(); b.Seq > last[key].Seq {
			last[key] = b
		}
	}
	for _, b := range d.allBuilds() {
		if built[line(b.Image, b.Ref.Full(), b.Seq-1, "")] == b.Commit.Hash {
			t.Errorf(
				"builds of %s at %s: got transitions %d and %d, want one of them",
				b.Ref.Full(),
				b.Commit.Hash,
				b.Seq-1,
				b.Seq,
			)
		}
	}
	for _, ref := range refNames {
		if got := d.State(refOf(ref)); got.Head != d.heads[ref] {
			t.Errorf("stored head of %s: got %s, want %s", ref, got.Head, d.heads[ref])
		}
		for _, image := range imagesOf(ref) {
			if b := last[image+" "+ref]; b.Commit.Hash != d.heads[ref] || b.Seq != d.State(refOf(ref)).Seq {
				t.Errorf(
					"last build of %s at %s: got transition %d of %s, want the head's",
					image,
					ref,
					b.Seq,
					b.Commit.Hash,
				)
			}
		}
	}
	t.Logf("%d builds, %d plans given up for a later attempt", len(built), conflicts)
}

// deliverAll plans deliveries with two planners. It retries a delivery after a conflict, as the
// queue does.
func (d *chaosEnv) deliverAll(ids <-chan string) (conflicts int) {
	d.T.Helper()
	var group errgroup.Group
	var mu sync.Mutex
	for range 2 {
		other := planner.New(
			planner.Options{Store: d.Store, Connector: d.Account, Now: d.Clock, Log: discard.Logger()},
		)
		group.Go(func() error {
			for id := range ids {
				err := other.Deliver(d.T.Context(), id)
				for errors.Is(err, autobuild.ErrConflict) {
					mu.Lock()
					conflicts++
					mu.Unlock()
					err = other.Deliver(d.T.Context(), id)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	must.Succeed(d.T, group.Wait())
	return conflicts
}
