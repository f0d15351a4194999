package embedded

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"slipway/config/buildservice"
)

// levelAge is how long a level is shown before it is read again.
const levelAge = time.Minute

// levelTimeout bounds one read. The service may prepare its machine first.
const levelTimeout = 30 * time.Second

// A LevelSource reports the level of isolation. buildservice.Client does.
type LevelSource interface {
	Level(ctx context.Context) (buildservice.Level, error)
}

// A LevelCache keeps the level of isolation for pages. It is safe for concurrent use.
type LevelCache struct {
	source LevelSource
	now    func() time.Time

	mu    sync.Mutex
	level buildservice.Level
	err   error
	read  time.Time     // time of the last read; zero = none yet
	done  chan struct{} // closed at the end of the current read; nil = no read is active
}

// NewLevelCache returns a cache that has read nothing yet.
func NewLevelCache(source LevelSource, now func() time.Time) *LevelCache {
	return &LevelCache{source: source, now: now}
}

// Level returns the level, at most a minute old. It reads the level in the background, and waits for
// it until ctx ends. Then it returns the older result, or the cause of ctx if there is none.
func (c *LevelCache) Level(ctx context.Context) (buildservice.Level, error) {
	c.mu.Lock()
	if !c.read.IsZero() && c.now().Sub(c.read) < levelAge {
		defer c.mu.Unlock()
		return c.level, c.err
	}
	if c.done == nil {
		c.done = make(chan struct{})
		go c.refresh(context.WithoutCancel(ctx))
	}
	done := c.done
	c.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read.IsZero() {
		return buildservice.Level{}, context.Cause(ctx)
	}
	return c.level, c.err
}

// refresh reads the level.
func (c *LevelCache) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, levelTimeout)
	defer cancel()
	level, err := c.source.Level(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.level, c.err, c.read = level, err, c.now()
	close(c.done)
	c.done = nil
}

// ServiceSocket returns the path of the socket of a Service in a directory.
func ServiceSocket(dir string) string { return filepath.Join(dir, "service.sock") }
