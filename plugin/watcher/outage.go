package watcher

import (
	"time"

	"github.com/sirupsen/logrus"
)

// maxPause bounds how long an engine is left alone after it did not answer.
const maxPause = 15 * time.Second

// outages are the engines that did not answer when they were last asked. They are asked less
// and less often, for each question may take as long as all else waits, and one line of the
// log tells the beginning and one the end. Look's alone.
type outages map[string]outage

type outage struct {
	since time.Time
	pause time.Duration
	until time.Time // not asked before
}

// rests reports whether an engine is to be left alone now.
func (o outages) rests(engine string, now time.Time) bool { return now.Before(o[engine].until) }

// failed notes that an engine did not answer.
func (o outages) failed(engine string, now time.Time, log logrus.FieldLogger, err error) {
	one, known := o[engine]
	if !known {
		one.since = now
		log.WithError(err).Warn("engine does not say how a silent pipeline is; it is asked again until it does")
	}
	one.pause = min(max(2*one.pause, time.Second), maxPause)
	one.until = now.Add(one.pause)
	o[engine] = one
}

// answered notes that it did.
func (o outages) answered(engine string, now time.Time, log logrus.FieldLogger) {
	one, known := o[engine]
	if !known {
		return
	}
	log.WithField("after", now.Sub(one.since).Round(time.Second).String()).Info("engine answers again")
	delete(o, engine)
}
