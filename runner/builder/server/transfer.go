package server

import (
	"context"
	"sync"
	"time"

	"github.com/moby/buildkit/util/progress"
	"golang.org/x/time/rate"

	"slipway/runner/builder"
)

// A transfer is how far the context is, for the build's log. It is safe for concurrent use.
type transfer struct {
	log   progress.Writer
	often *rate.Limiter

	mu    sync.Mutex
	state progress.Status
}

func startTransfer(ctx context.Context) *transfer {
	log, _, _ := progress.NewFromContext(ctx)
	now := time.Now()
	t := &transfer{log: log, often: rate.NewLimiter(rate.Every(100*time.Millisecond), 1), state: progress.Status{Action: "transferring", Started: &now}}
	t.say()
	return t
}

// add counts bytes that are there.
func (t *transfer) add(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.Current += int(bytes); t.often.Allow() {
		t.say()
	}
}

func (t *transfer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.state.Completed = &now
	t.say()
	_ = t.log.Close() // of a log, as say
}

// fail says why the context is going to be transferred in the other way.
func (t *transfer) fail(err error) {
	now := time.Now()
	_ = t.log.Write("it cannot be read here, and is sent: "+err.Error(), progress.Status{Started: &now, Completed: &now})
}

// say writes the line that BuildKit writes of a context that a client sends.
func (t *transfer) say() { _ = t.log.Write("transferring "+builder.ContextName+":", t.state) }
