package pipeline_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"slipway/plugin/engine/pipeline"
)

func TestRequestLogReportsTheLastRequest(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	s := pipeline.NewRequestLog(func() time.Time { return now })
	if f := s.Finding("config", "is it set?"); !f.Unknown || f.Problem != "" ||
		f.Good != "no request since the gateway started; is it set?" {
		t.Errorf("before any request: %+v", f)
	}
	s.Accepted("config")
	now = now.Add(time.Minute)
	if f := s.Finding("config", ""); f.Unknown || f.Problem != "" || f.Good != "last request 1m0s ago, with a valid signature" {
		t.Errorf("after a good one: %+v", f)
	}
	s.Refused("config", errors.New("no signature"))
	if f := s.Finding("config", ""); !strings.Contains(f.Problem, "was refused: no signature") {
		t.Errorf("after a bad one: %+v", f)
	}
	if f := s.Finding("secret", ""); f.Problem != "" {
		t.Errorf("another kind: %+v", f)
	}
}

// The addresses are public, so unsigned requests must not fill the log.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	s := pipeline.NewRequestLog(func() time.Time { return now })
	logged := 0
	for range 600 { // ten minutes
		if s.Refused("config", errors.New("no signature")) {
			logged++
		}
		now = now.Add(time.Second)
	}
	if logged != 10 {
		t.Errorf("%d of 600 refusals are worth a line, want one a minute", logged)
	}
	if !s.Refused("secret", errors.New("no signature")) {
		t.Error("the first of another kind is not")
	}
}
