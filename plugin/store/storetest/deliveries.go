package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
)

func deliveryRoundTrip(t *testing.T, s *store.Store) {
	want := autobuild.Delivery{
		HookID: "h1", Event: "repo:push", RequestID: "r1", Header: http.Header{"X-Event-Key": {"repo:push"}},
		Body: []byte("{\"push\": \"\xff\x00 any bytes\"}"), ReceivedAt: time.UnixMilli(1_764_000_000_123).UTC(),
	}
	id, err := s.ReceiveDelivery(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want.ID, want.State = id, autobuild.DeliveryReceived
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("stored delivery (-want +got):\n%s", diff)
	}
	waiting, _, err := s.Tasks().Depth(t.Context(), autobuild.TaskPlan)
	must.Succeed(t, err)
	if waiting != 1 {
		t.Errorf("waiting: got %v, want 1", waiting)
	}
	if _, err := s.Delivery(t.Context(), "none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("unknown delivery: got %v, want ErrNotFound", err)
	}
}

// planCompletesTask plans a delivery twice in its task's handler. The first call completes the task, and the second
// one finds that it is gone.
func planCompletesTask(t *testing.T, s *store.Store) {
	id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
	must.Succeed(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Tasks().Handle(autobuild.TaskPlan, func(ctx context.Context, _ queue.Task) error {
		defer cancel()
		plan := autobuild.Plan{DeliveryID: id, State: autobuild.DeliveryIgnored}
		if _, err := s.Plan(ctx, plan); err != nil {
			t.Errorf("plan: got error %v, want none", err)
		}
		waiting, _, err := s.Tasks().Depth(ctx, autobuild.TaskPlan)
		if err != nil || waiting != 0 {
			t.Errorf("tasks after the plan: got %d, error %v, want none", waiting, err)
		}
		if _, err := s.Plan(ctx, plan); err == nil {
			t.Error("plan without the task: got no error, want one")
		}
		return nil
	}, queue.Options{})
	must.Succeed(t, s.Tasks().Run(ctx))
}

func deliveriesList(t *testing.T, s *store.Store) {
	var ids []string
	for i := range 5 {
		id, err := s.ReceiveDelivery(t.Context(),
			autobuild.Delivery{HookID: fmt.Sprintf("h%d", i%2), ReceivedAt: time.UnixMilli(int64(1000 + i))})
		if err != nil {
			t.Fatal(err)
		}
		ids = append([]string{id}, ids...)
	}
	list := func(f autobuild.DeliveryFilter) (got []string) {
		all, err := s.Deliveries(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			got = append(got, d.ID)
		}
		return got
	}
	for _, c := range []struct {
		filter autobuild.DeliveryFilter
		want   []string
	}{
		{autobuild.DeliveryFilter{}, ids},
		{autobuild.DeliveryFilter{Limit: 2}, ids[:2]},
		{autobuild.DeliveryFilter{Limit: 2, Before: ids[1]}, ids[2:4]},
		{autobuild.DeliveryFilter{HookID: "h1"}, []string{ids[1], ids[3]}},
	} {
		if got := list(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.filter, got, c.want)
		}
	}
}

func deliveriesConcurrent(t *testing.T, s *store.Store) {
	const n = 300
	var all sync.WaitGroup
	failed := make(chan error, n)
	for i := range n {
		all.Go(func() {
			if _, err := s.ReceiveDelivery(t.Context(),
				autobuild.Delivery{HookID: "h", RequestID: fmt.Sprint(i)}); err != nil {
				failed <- err
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	stored, err := s.Deliveries(t.Context(), autobuild.DeliveryFilter{Limit: 2 * n})
	must.Succeed(t, err)
	if len(stored) != n {
		t.Fatalf("len(stored): got %v, want %v", len(stored), n)
	}
}

func deliveryCancelled(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		if _, err := s.ReceiveDelivery(ctx, autobuild.Delivery{HookID: "h"}); !errors.Is(err, context.Canceled) {
			t.Fatalf("got error %v, want context.Canceled", err)
		}
	}
	all, err := s.Deliveries(t.Context(), autobuild.DeliveryFilter{})
	must.Succeed(t, err)
	if len(all) != 0 {
		t.Fatalf("len(all): got %v, want 0", len(all))
	}
}

// deliveriesCancelled checks that each acknowledged delivery is stored, although senders give up
// at any moment.
func deliveriesCancelled(t *testing.T, s *store.Store) {
	var all sync.WaitGroup
	promised := make(chan string, 400)
	for range 20 {
		all.Go(func() {
			for i := range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*50)*time.Microsecond)
				if id, err := s.ReceiveDelivery(ctx, autobuild.Delivery{HookID: "h"}); err == nil {
					promised <- id
				}
				cancel()
			}
		})
	}
	all.Wait()
	close(promised)
	for id := range promised {
		if _, err := s.Delivery(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

func deliveryExplained(t *testing.T, s *store.Store) {
	id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h"})
	must.Succeed(t, err)
	reason := func() string {
		d, err := s.Delivery(t.Context(), id)
		must.Succeed(t, err)
		return d.Reason
	}
	must.Succeed(t, s.ExplainDelivery(t.Context(), id, "the account's link is broken"))
	if got := reason(); got != "the account's link is broken" {
		t.Errorf("reason: got %q, want the account's link is broken", got)
	}
	_, err = s.Plan(t.Context(),
		autobuild.Plan{DeliveryID: id, State: autobuild.DeliveryIgnored, Reason: "nothing to do"})
	must.Succeed(t, err)
	must.Succeed(t, s.ExplainDelivery(t.Context(), id, "too late"))
	if got := reason(); got != "nothing to do" {
		t.Errorf("reason of a planned delivery: got %q, want nothing to do", got)
	}
}
