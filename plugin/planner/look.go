package planner

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// LookSoon has the refs of a repository polled after SettleAfter, for somebody who knows of a
// push that was not told. Asking again meanwhile changes nothing; a repository without a
// webhook of ours has nobody who builds it.
func (p *Planner) LookSoon(ctx context.Context, r autobuild.Repository) error {
	hook, err := p.o.Store.HookOf(ctx, r)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the webhook of %s: %w", r.FullName, err)
	}
	p.settleLater(hook.ID)
	return nil
}
