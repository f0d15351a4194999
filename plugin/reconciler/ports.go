package reconciler

import (
	"context"
	"time"

	"slipway/plugin/autobuild"
)

// Store is the reconciler's part of the database. It returns the errors of package autobuild.
type Store interface {
	Hooks
	Refs
}

// Hooks loads webhooks, and reports waiting deliveries.
type Hooks interface {
	KnownHooks
	// TouchHook stores the time of a hook's last delivery or poll. A zero time changes nothing.
	TouchHook(ctx context.Context, id string, delivered, polled time.Time) error
	// SetListingProblem stores what was suspicious about the last list of refs. Empty means nothing.
	SetListingProblem(ctx context.Context, id, problem string) error
	// DeliveryWaits reports whether a hook has a delivery that is planned before what a poll finds.
	DeliveryWaits(ctx context.Context, hookID string) (bool, error)
}

// KnownHooks loads webhooks. ListVersion returns a text that differs after a webhook was added or removed, or has
// another state or account. Hook returns ErrNotFound if the webhook was removed.
type KnownHooks interface {
	ListVersion(ctx context.Context) (string, error)
	// HooksWithoutSecrets returns all webhooks without their secrets.
	HooksWithoutSecrets(ctx context.Context) ([]autobuild.Hook, error)
	Hook(ctx context.Context, id string) (autobuild.Hook, error)
}

// Refs loads and stores the accepted states of refs.
type Refs interface {
	RefStates(ctx context.Context, r autobuild.Repository) (map[autobuild.Ref]autobuild.RefState, error)
	// BaselineRefs stores the heads of refs that were never seen, without a transition.
	BaselineRefs(ctx context.Context, r autobuild.Repository, heads []autobuild.Head) error
	// EndRestored cancels the builds of refs that a restored backup has as unfinished, with a detail by ref. waiting
	// means that a backup was restored after the hook's last poll. Otherwise it changes nothing.
	EndRestored(ctx context.Context, hook autobuild.Hook, details map[autobuild.Ref]string) (waiting bool, err error)
}

// A Planner plans missed pushes.
type Planner interface {
	// PlanMissed plans the pushes that find returns. It runs find while no other planning of the
	// repository runs, and again if a ref moved before the plan was stored. It returns the errors of
	// find.
	PlanMissed(ctx context.Context, hook autobuild.Hook, find autobuild.FindMissed) error
}
