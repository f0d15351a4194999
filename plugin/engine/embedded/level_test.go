package embedded_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/buildservice"
	"slipway/plugin/engine/embedded"
)

// A slowSource answers after it is released.
type slowSource struct {
	release chan struct{}
	reads   atomic.Int32
}

func (s *slowSource) Level(context.Context) (buildservice.Level, error) {
	<-s.release
	s.reads.Add(1)
	return buildservice.Level{Hooks: buildservice.LevelFull}, nil
}

func TestTheLevelIsReadOnceAndNeverBlocks(t *testing.T) {
	source := &slowSource{release: make(chan struct{})}
	now := time.Now()
	cache := embedded.NewLevelCache(source, func() time.Time { return now })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cache.Level(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("level from a slow service: got error %v, want that of the context", err)
	}
	close(source.release)
	for range 2 {
		if level, err := cache.Level(t.Context()); err != nil || level.Hooks != buildservice.LevelFull {
			t.Errorf("level: got %+v, error %v, want full", level, err)
		}
	}
	if n := source.reads.Load(); n != 1 {
		t.Errorf("reads: got %d, want 1", n)
	}
	now = now.Add(2 * time.Minute)
	if _, err := cache.Level(t.Context()); err != nil {
		t.Errorf("level after two minutes: %v", err)
	}
	if n := source.reads.Load(); n != 2 {
		t.Errorf("reads after two minutes: got %d, want 2", n)
	}
}
