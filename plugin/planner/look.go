package planner

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// PollSoon schedules a poll of the repository's refs after SettleAfter. Call it if a push is
// known from another source than a delivery. Further calls before the poll change nothing.
// PollSoon returns nil without a poll if Slipway manages no webhook for the repository, because
// no automated build uses it. It is safe for concurrent use.
func (p *Planner) PollSoon(ctx context.Context, r autobuild.Repository) error {
	hook, err := p.o.Store.HookOf(ctx, r)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the webhook of %s: %w", r.FullName, err)
	}
	p.schedulePoll(hook.ID)
	return nil
}
