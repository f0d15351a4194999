package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// A readable holds rows of one repository.
type readable struct {
	automated autobuild.AutomatedBuild
	build     autobuild.Build
	delivery  string // id
	hook      string // id
}

// newReadable stores an automated build of a repository, with a build, a webhook and a delivery.
func newReadable(t *testing.T, s *store.Store, name string) readable {
	t.Helper()
	a := AutomatedBuild(t, s, Repository(name))
	b, _, err := s.CreateBuild(t.Context(), Draft(a, Main(), Commit(1), autobuild.CauseManual))
	must.Succeed(t, err)
	h := activeHook(t, s, a.Repository)
	return readable{automated: a, build: b, delivery: receiveFor(t, s, h.ID), hook: h.ID}
}

func receiveFor(t *testing.T, s *store.Store, hookID string) (id string) {
	t.Helper()
	id, err := s.ReceiveDelivery(t.Context(),
		autobuild.Delivery{HookID: hookID, Event: "repo:push", Body: []byte("{}")})
	must.Succeed(t, err)
	return id
}

// viewsOfUsers checks that each user sees the rows of the repositories that they may read, and no
// others.
func viewsOfUsers(t *testing.T, s *store.Store) {
	app, lib := newReadable(t, s, "app"), newReadable(t, s, "lib")
	receiveFor(t, s, "deleted")
	jo, mo := createSignedInUser(t, s, "jo"), createSignedInUser(t, s, "mo")
	grant(t, s, jo, map[string]autobuild.Permission{
		app.automated.Repository.ID: autobuild.PermissionWrite,
		lib.automated.Repository.ID: autobuild.PermissionNone,
	})
	grant(t, s, mo, map[string]autobuild.Permission{lib.automated.Repository.ID: autobuild.PermissionRead})

	for name, c := range map[string]struct {
		viewer       autobuild.Viewer
		sees, misses []readable
		deliveries   int
	}{
		"jo":               {autobuild.Viewer{UserID: jo.ID}, []readable{app}, []readable{lib}, 1},
		"mo":               {autobuild.Viewer{UserID: mo.ID}, []readable{lib}, []readable{app}, 1},
		"an unknown user":  {autobuild.Viewer{}, nil, []readable{app, lib}, 0},
		"an administrator": {autobuild.Viewer{Administrator: true}, []readable{app, lib}, nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			v := s.As(c.viewer)
			checkLists(t, v, c.sees, c.deliveries)
			for _, r := range c.sees {
				for what, err := range readRows(t, v, r) {
					if err != nil {
						t.Errorf("%s of %s: got %v, want no error", what, r.automated.Repository.FullName, err)
					}
				}
			}
			for _, r := range c.misses {
				checkHidden(t, v, r)
			}
		})
	}
}

// checkLists checks that a view lists the rows of these repositories, and this many deliveries.
func checkLists(t *testing.T, v store.View, sees []readable, deliveries int) {
	t.Helper()
	var want []string
	for _, r := range sees {
		want = append(want, r.automated.ID)
	}
	page, err := v.ListAutomatedBuilds(t.Context(), autobuild.AutomatedBuildFilter{})
	must.Succeed(t, err)
	if diff := cmp.Diff(want, ids(page.Rows)); diff != "" {
		t.Errorf("automated builds (-want +got):\n%s", diff)
	}
	builds, err := v.Builds(t.Context(), autobuild.BuildFilter{})
	must.Succeed(t, err)
	if len(builds) != len(sees) {
		t.Errorf("got %d builds, want %d", len(builds), len(sees))
	}
	received, err := v.Deliveries(t.Context(), autobuild.DeliveryFilter{})
	must.Succeed(t, err)
	if len(received) != deliveries {
		t.Errorf("got %d deliveries, want %d", len(received), deliveries)
	}
	has, err := v.HasHooks(t.Context())
	must.Succeed(t, err)
	if has != (len(sees) > 0) {
		t.Errorf("has webhooks: got %t, want %t", has, len(sees) > 0)
	}
}

// readRows reads the single rows of a repository, and returns the errors by the kind of row.
func readRows(t *testing.T, v store.View, r readable) map[string]error {
	t.Helper()
	ctx := t.Context()
	_, automated := v.AutomatedBuild(ctx, r.automated.ID)
	_, build := v.BuildByNumber(ctx, r.build.Number)
	_, delivery := v.Delivery(ctx, r.delivery)
	_, hook := v.Hook(ctx, r.hook)
	return map[string]error{"automated build": automated, "build": build, "delivery": delivery, "webhook": hook}
}

// checkHidden checks that the rows of a repository do not exist in a view.
func checkHidden(t *testing.T, v store.View, r readable) {
	t.Helper()
	name := r.automated.Repository.FullName
	for what, err := range readRows(t, v, r) {
		if !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("%s of %s: got %v, want ErrNotFound", what, name, err)
		}
	}
	builds, err := v.Builds(t.Context(), autobuild.BuildFilter{AutomatedBuildID: r.automated.ID})
	must.Succeed(t, err)
	if len(builds) != 0 {
		t.Errorf("got %d builds of %s, want none", len(builds), name)
	}
}

func ids(all []autobuild.ListedAutomatedBuild) []string {
	var some []string
	for _, a := range all {
		some = append(some, a.ID)
	}
	return some
}
