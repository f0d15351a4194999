package intake

import (
	"context"
	"time"

	"slipway/plugin/autobuild"
)

// Store is intake's part of the database. It returns the errors of package autobuild.
type Store interface {
	Hook(ctx context.Context, id string) (autobuild.Hook, error)
	Provider(ctx context.Context, id string) (autobuild.Provider, error)
	// ReceiveDelivery stores a delivery and its plan task. Both are durable if it returns nil.
	ReceiveDelivery(ctx context.Context, d autobuild.Delivery) (id string, err error)
	// TouchHook stores the time of a hook's last delivery or poll. A zero time changes nothing.
	TouchHook(ctx context.Context, id string, delivered, polled time.Time) error
}
