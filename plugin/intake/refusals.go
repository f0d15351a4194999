package intake

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/logctx"
)

// refusalsEvery bounds how often refused deliveries are logged: anyone can send them.
const refusalsEvery = time.Minute

// refusals count the refused deliveries since the last line of the log.
type refusals struct {
	logged time.Time // when the last line was written
	count  int       // refused since, and not logged
}

// logRefused logs a refused delivery at debug level, and at info level one line a minute with
// their number: one line for known webhooks, whose secret is wrong, and one for unknown ones, so
// that a flood of the latter hides none of the former. The metric counts each (Options.Observe).
func (i *Intake) logRefused(ctx context.Context, hookID string, known bool) {
	log := logctx.Log(ctx, i.o.Log).WithFields(logrus.Fields{"hook": hookID, "known": known})
	log.Debug("delivery refused: webhook or signature")
	if n := i.countRefused(known); n > 0 {
		log.WithField("refused", n).Info("deliveries refused: webhook or signature; this is the last one's webhook")
	}
}

// countRefused counts a refusal. It returns the number to log now, or 0.
func (i *Intake) countRefused(known bool) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.refused[known]
	r.count++
	now := i.o.Now()
	if now.Sub(r.logged) < refusalsEvery {
		return 0
	}
	n := r.count
	r.logged, r.count = now, 0
	return n
}
