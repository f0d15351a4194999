package server

import (
	"errors"
	"fmt"
	"testing"

	"github.com/moby/buildkit/executor"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"go.opentelemetry.io/otel/trace/noop"
)

func TestWithoutLimitsTheExecutorStays(t *testing.T) {
	log, hook := logrustest.NewNullLogger()
	l := openLimits(t.Context(), Config{Log: log})
	var e executor.Executor = hostNetwork{}
	if got := l.wrap(e); got != e {
		t.Errorf("got %T, want the executor itself", got)
	}
	l.close()
	for _, entry := range hook.AllEntries() {
		if entry.Level <= logrus.WarnLevel {
			t.Errorf("got warning %q, want none", entry.Message)
		}
	}
}

func TestExplainLimitKeepsTheExitCode(t *testing.T) {
	exit := &gatewaypb.ExitError{ExitCode: 137}
	explainLimit(fmt.Errorf("step: %w", exit), "")
	if got, want := exit.Error(), "exit code: 137"; got != want {
		t.Errorf("without a reason: got %q, want %q", got, want)
	}
	explainLimit(fmt.Errorf("step: %w", exit), "killed: out of memory")
	if got, want := exit.Error(), "killed: out of memory"; got != want {
		t.Errorf("with a reason: got %q, want %q", got, want)
	}
	if exit.ExitCode != 137 {
		t.Errorf("got exit code %d, want 137", exit.ExitCode)
	}
	explainLimit(errors.New("no exit code"), "killed: out of memory") // changes nothing
}

func TestExitSpanCallsAtTheEndOfAContainerOnly(t *testing.T) {
	calls := 0
	span := exitSpan{Span: noop.Span{}, onExit: func() { calls++ }}
	span.AddEvent("Container started")
	if calls != 0 {
		t.Errorf("at the start: got %d calls, want 0", calls)
	}
	span.AddEvent(exitEvent)
	if calls != 1 {
		t.Errorf("at the end: got %d calls, want 1", calls)
	}
}
