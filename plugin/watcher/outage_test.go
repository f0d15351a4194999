package watcher_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

// An engine that does not respond for ten minutes is polled at most four times a minute. The log gets
// two lines.
func TestAnEngineThatIsDownIsPolledLessOften(t *testing.T) {
	w := newEnv(t)
	first, second := w.build(1), w.build(2)
	w.start(first, "embedded")
	w.start(second, "embedded")
	w.advance(16 * time.Second)
	w.engine.err = errors.New("connection refused")
	for range 600 {
		w.poll()
		w.advance(time.Second)
	}
	if most := 600/15 + 5; w.engine.polls > most {
		t.Errorf("polls of the engine: got %d, want at most %d", w.engine.polls, most)
	}
	if w.engine.polls < 30 {
		t.Errorf("polls of the engine: got %d, want at least 30", w.engine.polls)
	}
	w.engine.err, w.engine.state = nil, autobuild.PipelineGone
	w.advance(15 * time.Second)
	w.poll()
	w.want(first, 1, autobuild.Queued, "", "the runner stopped without a result")
	w.want(second, 1, autobuild.Queued, "", "the runner stopped without a result")
	for want, times := range map[string]int{"engine does not respond": 1, "engine responds again": 1} {
		if got := strings.Count(w.log.String(), want); got != times {
			t.Errorf("log lines with %q: got %d, want %d:\n%s", want, got, times, w.log.String())
		}
	}
}

// A notification of the CI causes a poll, even if the last poll failed.
func TestARecheckEndsTheEnginesPause(t *testing.T) {
	w := newEnv(t)
	b := w.build(1)
	w.start(b, "embedded")
	w.engine.err = errors.New("connection refused")
	for range 60 {
		w.advance(time.Second)
		w.poll()
	}
	w.engine.err, w.engine.state = nil, autobuild.PipelineGone
	w.rechecks.Add(b.ID, 1)
	w.poll()
	w.want(b, 1, autobuild.Queued, "", "the runner stopped without a result")
}
