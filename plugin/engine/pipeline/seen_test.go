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
	const config = "config extension"
	want := pipeline.Finding{
		Subject: config, Unknown: true, Good: "no request since the gateway started; is it set?",
	}
	if got := s.Finding("config", "is it set?"); got != want {
		t.Errorf("before any request: got %+v, want %+v", got, want)
	}
	s.Accepted("config")
	now = now.Add(time.Minute)
	want = pipeline.Finding{Subject: config, Good: "last request 1m0s ago, with a valid signature"}
	if got := s.Finding("config", ""); got != want {
		t.Errorf("after an accepted request: got %+v, want %+v", got, want)
	}
	s.Refused("config", errors.New("no signature"))
	if f := s.Finding("config", ""); !strings.Contains(f.Problem, "was refused: no signature") {
		t.Errorf("finding after a bad request: got %+v, want its problem", f)
	}
	if f := s.Finding("secret", ""); f.Problem != "" {
		t.Errorf("finding of another kind: got %+v, want no problem", f)
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
		t.Errorf("logged rejections: got %d of 600, want one a minute", logged)
	}
	if !s.Refused("secret", errors.New("no signature")) {
		t.Error("log of the first rejection of another kind: got none, want one")
	}
}
