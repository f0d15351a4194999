package logs

import (
	"context"

	"slipway/plugin/autobuild"
)

// A LogStore reads and writes the logs of attempts in a database.
type LogStore interface {
	WriteLog(
		ctx context.Context, buildID string, attempt int,
		next func(autobuild.LogEnd) (autobuild.LogAddition, error),
	) error
	ReadLog(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error)
	LogSize(ctx context.Context, buildID string, attempt int) (size int64, err error)
}

// A LogPruner lists and removes the logs of builds.
type LogPruner interface {
	// LoggedBuilds returns ids of builds after the given one, in their order; none = the end.
	LoggedBuilds(ctx context.Context, after string) ([]string, error)
	RemoveLogs(ctx context.Context, buildID string) error
}

// A Store is the part of the store that holds logs. *store.Store implements it.
type Store interface {
	LogStore
	LogPruner
}
