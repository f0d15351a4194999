package logs

import (
	"context"

	"slipway/plugin/autobuild"
)

// table stores logs in the database, where every gateway can read them.
type table struct{ store Store }

func (k table) write(ctx context.Context, n name, next func(autobuild.LogEnd) (autobuild.LogAddition, error)) error {
	return k.store.WriteLog(ctx, n.build, n.attempt, next)
}

func (k table) read(ctx context.Context, n name, offset int64, max int) ([]byte, error) {
	return k.store.ReadLog(ctx, n.build, n.attempt, offset, max)
}

// size returns 0 if the database fails. A follower then reads again after its own timeout, and
// gets the error from the read.
func (k table) size(ctx context.Context, n name) int64 {
	size, err := k.store.LogSize(ctx, n.build, n.attempt)
	if err != nil {
		return 0
	}
	return size
}

func (k table) prune(ctx context.Context, keep func(buildID string) bool) error {
	after := ""
	for {
		builds, err := k.store.LoggedBuilds(ctx, after)
		if err != nil || len(builds) == 0 {
			return err
		}
		for _, build := range builds {
			if keep(build) {
				continue
			}
			if err := k.store.RemoveLogs(ctx, build); err != nil {
				return err
			}
		}
		after = builds[len(builds)-1]
	}
}
