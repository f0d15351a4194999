package watcher

import (
	"time"

	"github.com/sirupsen/logrus"
)

// maxPause is the longest pause between two polls of an engine that does not respond.
const maxPause = 15 * time.Second

// outages holds the engines that did not respond to the last poll, by name. The pauses between polls grow,
// because each poll can block all other checks until its timeout. The log gets one line at the
// beginning and one at the end of an outage. Only Poll uses outages.
type outages map[string]outage

type outage struct {
	since time.Time
	pause time.Duration
	until time.Time // end of the pause
}

// isPaused reports whether an engine must not be polled now.
func (o outages) isPaused(engine string, now time.Time) bool { return now.Before(o[engine].until) }

// recordFailure records that an engine did not respond.
func (o outages) recordFailure(engine string, now time.Time, log logrus.FieldLogger, err error) {
	one, known := o[engine]
	if !known {
		one.since = now
		log.WithError(err).Warn("engine does not respond: it is polled until it does")
	}
	one.pause = min(max(2*one.pause, time.Second), maxPause)
	one.until = now.Add(one.pause)
	o[engine] = one
}

// recordResponse records that an engine responded.
func (o outages) recordResponse(engine string, now time.Time, log logrus.FieldLogger) {
	one, known := o[engine]
	if !known {
		return
	}
	log.WithField("after", now.Sub(one.since).Round(time.Second).String()).Info("engine responds again")
	delete(o, engine)
}
