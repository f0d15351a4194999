package intake

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/logctx"
)

// refusalsEvery is the minimum interval between two log lines about rejected deliveries, because
// anyone can send them.
const refusalsEvery = time.Minute

// refusals counts the rejected deliveries since the last log line.
type refusals struct {
	logged time.Time // time of the last line
	count  int       // rejected since then
}

// logRefused logs a rejected delivery at debug level. At info level it logs their number once a
// minute: one line for known webhooks with a wrong secret, and one for unknown webhooks. So a
// flood of requests to unknown webhooks does not hide the others. Options.Observe is called for
// each of them.
func (i *Intake) logRefused(ctx context.Context, hookID string, known bool) {
	log := logctx.Log(ctx, i.o.Log).WithFields(logrus.Fields{"hook": hookID, "known": known})
	log.Debug("delivery refused: unknown webhook or wrong signature")
	if n := i.countRefused(known); n > 0 {
		log.WithField("refused", n).
			Info("deliveries refused: unknown webhook or wrong signature; the fields belong to the last one")
	}
}

// countRefused counts a rejected delivery. It returns the number to log now, or 0.
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
