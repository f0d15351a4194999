package reconciler

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// Options configure a Reconciler. Store, Planner, Requests and Log are required.
type Options struct {
	Store    Store
	Planner  Planner
	Requests *Requests
	Now      func() time.Time // nil means time.Now
	// IsLeader reports whether this gateway runs the periodic polls. nil means always, for a single
	// gateway.
	IsLeader func() bool
	// CheckHook creates or repairs the webhook of a repository that should have one. nil means no
	// check.
	CheckHook func(ctx context.Context, r autobuild.Repository) error
	// Allowance names the allowance of requests that the polls with an account use. Accounts with the
	// same name share one budget. nil means that all do.
	Allowance func(ctx context.Context, accountID string) string
	Log       logrus.FieldLogger
}

// A Reconciler polls refs and checks webhooks. It is safe for concurrent use.
type Reconciler struct {
	o     Options
	turns turns
	times pollTimes
}

// New returns a Reconciler and fills in the defaults of its options.
func New(o Options) *Reconciler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.IsLeader == nil {
		o.IsLeader = func() bool { return true }
	}
	if o.CheckHook == nil {
		o.CheckHook = func(context.Context, autobuild.Repository) error { return nil }
	}
	if o.Allowance == nil {
		o.Allowance = func(context.Context, string) string { return "" }
	}
	return &Reconciler{o: o}
}
