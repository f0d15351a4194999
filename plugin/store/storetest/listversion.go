package storetest

import (
	"errors"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// listVersion checks which changes raise the version.
func listVersion(t *testing.T, s *store.Store) {
	ctx := t.Context()
	seen := map[string]bool{}
	check := func(change string, raises bool) {
		t.Helper()
		version, err := s.ListVersion(ctx)
		must.Succeed(t, err)
		if seen[version] == raises {
			t.Errorf("version after %s: got %s, changed %t, want %t", change, version, !seen[version], raises)
		}
		seen[version] = true
	}
	check("the start", true)
	check("nothing", false)
	a := AutomatedBuild(t, s, Repository("app"))
	check("a new automated build", true)
	h := activeHook(t, s, a.Repository)
	check("a new webhook", true)
	b, attempt := Started(t, s, a, "", Commit(1))
	check("a new build", true)
	must.Succeed(t, s.ClaimAttempt(ctx, b.ID, attempt.Number, "runner"))
	check("a claim", true)
	must.Succeed(t, s.RecordEvents(ctx, b.ID, attempt.Number, autobuild.EventRecord{Seq: 1}))
	must.Succeed(t, s.TouchHook(ctx, h.ID, time.Now(), time.Now()))
	delivery := receiveFor(t, s, h.ID)
	_, err := s.Plan(ctx, autobuild.Plan{
		DeliveryID: delivery, Repository: a.Repository, State: autobuild.DeliveryPlanned,
	})
	must.Succeed(t, err)
	check("events, a poll, and a delivery without a build", false)
	finish(t, s, b)
	check("the end of a build", true)
	a.Repository.FullName = "acme/renamed"
	must.Succeed(t, s.RenameRepository(ctx, a.Repository))
	check("a new name", true)
	must.Succeed(t, s.DeleteHook(ctx, h.ID))
	check("the end of a webhook", true)
	account, err := s.SaveAccount(ctx, autobuild.Account{ProviderID: "cloud", Name: "jo"})
	must.Succeed(t, err)
	check("a linked account", true)
	must.Succeed(t, s.BreakAccount(ctx, account.ID, account.Version, "revoked"))
	check("a broken account", true)
	must.Succeed(t, s.DeleteAutomatedBuild(ctx, a.ID))
	check("the end of an automated build", true)
}

func viewerVersion(t *testing.T, s *store.Store) {
	version := func(v autobuild.Viewer) string {
		version, err := s.As(v).ListVersion(t.Context())
		must.Succeed(t, err)
		return version
	}
	jo, mo := createSignedInUser(t, s, "jo"), createSignedInUser(t, s, "mo")
	viewer := autobuild.Viewer{UserID: jo.ID}
	before := version(viewer)
	if other := version(autobuild.Viewer{UserID: mo.ID}); other == before {
		t.Errorf("version of another viewer: got the same, %s", other)
	}
	if other := version(autobuild.Viewer{UserID: jo.ID, Administrator: true}); other == before {
		t.Errorf("version of an administrator: got the same, %s", other)
	}
	grant(t, s, jo, map[string]autobuild.Permission{Repository("app").ID: autobuild.PermissionRead})
	granted := version(viewer)
	if granted == before {
		t.Errorf("version after new permissions: got the same, %s", granted)
	}
	must.Succeed(t, s.DropPermissions(t.Context(), jo.ID))
	if dropped := version(viewer); dropped == granted {
		t.Errorf("version without permissions: got the same, %s", dropped)
	}
	if _, err := s.As(autobuild.Viewer{}).ListVersion(t.Context()); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("version without a user: got error %v, want ErrNotFound", err)
	}
}
