package watcher_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

// An engine that does not answer for ten minutes is asked four times a minute at most, and
// costs two lines of the log.
func TestAnEngineThatIsDownIsAskedLessOften(t *testing.T) {
	w := newTower(t)
	first, second := w.build(1), w.build(2)
	w.start(first, "embedded")
	w.start(second, "embedded")
	w.pass(16 * time.Second)
	w.engine.err = errors.New("connection refused")
	for range 600 {
		w.look()
		w.pass(time.Second)
	}
	if most := 600/15 + 5; w.engine.asked > most || w.engine.asked < 30 {
		t.Errorf("it was asked %d times, want at most %d", w.engine.asked, most)
	}
	w.engine.err, w.engine.state = nil, autobuild.PipelineGone
	w.pass(15 * time.Second)
	w.look()
	w.want(first, 1, autobuild.Queued, "", "the runner is gone without a word")
	w.want(second, 1, autobuild.Queued, "", "the runner is gone without a word")
	for want, times := range map[string]int{"engine does not say": 1, "engine answers again": 1} {
		if got := strings.Count(w.log.String(), want); got != times {
			t.Errorf("the log says %q %d times, want %d:\n%s", want, got, times, w.log.String())
		}
	}
}

// What the CI tells of itself is worth a question, whatever the last one came to.
func TestANudgeEndsAnEnginesRest(t *testing.T) {
	w := newTower(t)
	b := w.build(1)
	w.start(b, "embedded")
	w.engine.err = errors.New("connection refused")
	for range 60 {
		w.pass(time.Second)
		w.look()
	}
	w.engine.err, w.engine.state = nil, autobuild.PipelineGone
	w.Nudge(b.ID, 1)
	w.look()
	w.want(b, 1, autobuild.Queued, "", "the runner is gone without a word")
}
