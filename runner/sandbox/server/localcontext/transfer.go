package localcontext

import (
	"context"
	"sync"
	"time"

	"github.com/moby/buildkit/util/progress"
	"golang.org/x/time/rate"

	"slipway/runner/buildkit"
)

// A transfer reports the progress of copying the context to the build's log. It is safe for concurrent
// use.
type transfer struct {
	log   progress.Writer
	limit *rate.Limiter // limit of the lines in the log

	mu    sync.Mutex
	state progress.Status
}

func startTransfer(ctx context.Context) *transfer {
	log, _, _ := progress.NewFromContext(ctx)
	now := time.Now()
	t := &transfer{
		log:   log,
		limit: rate.NewLimiter(rate.Every(100*time.Millisecond), 1),
		state: progress.Status{Action: "transferring", Started: &now},
	}
	t.write()
	return t
}

// add adds copied bytes to the progress.
func (t *transfer) add(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Current += int(bytes)
	if t.limit.Allow() {
		t.write()
	}
}

// end writes the last line and closes the log.
func (t *transfer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.state.Completed = &now
	t.write()
	_ = t.log.Close() // a lost log line does not fail the build
}

// fail logs the reason why the client sends the context instead.
func (t *transfer) fail(err error) {
	now := time.Now()
	_ = t.log.Write(
		"the builder cannot read the context, so the client sends it: "+err.Error(),
		progress.Status{Started: &now, Completed: &now},
	)
}

// write writes the same line that BuildKit writes if a client sends the context.
func (t *transfer) write() { _ = t.log.Write("transferring "+buildkit.ContextName+":", t.state) }
