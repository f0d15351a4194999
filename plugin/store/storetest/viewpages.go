package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// viewsArePaged checks that the pages of a user have the rows that an administrator sees, without those of other
// repositories, in the same order.
func viewsArePaged(t *testing.T, s *store.Store) {
	apps := []readable{newReadable(t, s, "app"), newReadable(t, s, "lib"), newReadable(t, s, "secret")}
	received := time.Now().Add(-time.Hour)
	for i := range 4 {
		for _, r := range apps {
			b, _, err := s.CreateBuild(t.Context(),
				Draft(r.automated, Main(), Commit(i+2), autobuild.CauseManual))
			must.Succeed(t, err)
			if i%2 == 0 {
				_, err := s.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "")
				must.Succeed(t, err)
			}
			_, err = s.ReceiveDelivery(t.Context(), autobuild.Delivery{
				HookID: r.hook, Event: "repo:push", Body: []byte("{}"),
				ReceivedAt: received.Add(time.Duration(i/2) * time.Second), // some at the same time
			})
			must.Succeed(t, err)
		}
	}
	jo := createSignedInUser(t, s, "jo")
	grant(t, s, jo, map[string]autobuild.Permission{
		apps[0].automated.Repository.ID: autobuild.PermissionRead,
		apps[1].automated.Repository.ID: autobuild.PermissionRead,
	})
	user, all := s.As(autobuild.Viewer{UserID: jo.ID}), s.As(autobuild.Viewer{Administrator: true})
	for _, states := range [][]autobuild.State{nil, {autobuild.Cancelled}, {autobuild.Queued, autobuild.Cancelled}} {
		want := buildPages(t, all, states, 100)
		want = slices.DeleteFunc(want, func(b autobuild.Build) bool {
			return b.Repository.ID == apps[2].automated.Repository.ID
		})
		if diff := cmp.Diff(want, buildPages(t, user, states, 3)); diff != "" {
			t.Errorf("builds in states %v (-want +got):\n%s", states, diff)
		}
	}
	want := slices.DeleteFunc(
		deliveryPages(t, all, 100),
		func(d autobuild.Delivery) bool { return d.HookID == apps[2].hook },
	)
	if diff := cmp.Diff(want, deliveryPages(t, user, 3)); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
}

// buildPages returns the builds of all pages.
func buildPages(t *testing.T, v store.View, states []autobuild.State, limit int) (all []autobuild.Build) {
	t.Helper()
	f := autobuild.BuildFilter{States: states, Limit: limit}
	for {
		page, err := v.Builds(t.Context(), f)
		must.Succeed(t, err)
		if all = append(all, page...); len(page) < limit {
			return all
		}
		f.Before = page[len(page)-1].Number
	}
}

// deliveryPages is buildPages for deliveries.
func deliveryPages(t *testing.T, v store.View, limit int) (all []autobuild.Delivery) {
	t.Helper()
	f := autobuild.DeliveryFilter{Limit: limit}
	for {
		page, err := v.Deliveries(t.Context(), f)
		must.Succeed(t, err)
		if all = append(all, page...); len(page) < limit {
			return all
		}
		f.Before = page[len(page)-1].ID
	}
}
