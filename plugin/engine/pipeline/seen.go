package pipeline

import (
	"fmt"
	"sync"
	"time"
)

// A RequestLog remembers the last accepted and the last refused request of each kind, so that an
// administrator can check the setup of a CI. It is safe for concurrent use.
type RequestLog struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]lastRequests
}

// lastRequests are the last requests of one kind.
type lastRequests struct {
	goodAt, badAt time.Time
	bad           string
	loggedAt      time.Time // when a refusal was last logged
}

// NewRequestLog returns an empty RequestLog.
func NewRequestLog(now func() time.Time) *RequestLog {
	return &RequestLog{now: now, all: map[string]lastRequests{}}
}

// Accepted records a request with a valid signature. kind is for example "config".
func (l *RequestLog) Accepted(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.all[kind]
	last.goodAt = l.now()
	l.all[kind] = last
}

// logInterval is the minimum time between two log lines about refusals of one kind. The addresses
// are public, so that unsigned requests could fill the log.
const logInterval = time.Minute

// Refused records a refused request, and reports whether to log it.
func (l *RequestLog) Refused(kind string, cause error) (log bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.all[kind]
	last.badAt, last.bad = l.now(), cause.Error()
	log = last.badAt.Sub(last.loggedAt) >= logInterval
	if log {
		last.loggedAt = last.badAt
	}
	l.all[kind] = last
	return log
}

// Finding returns the outcome of the last request of a kind since the gateway started. hint is
// appended if no request came.
func (l *RequestLog) Finding(kind, hint string) Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.all[kind]
	f := Finding{Subject: kind + " extension"}
	switch {
	case last.badAt.After(last.goodAt):
		f.Problem = fmt.Sprintf("the last request, %s ago, was refused: %s", l.ago(last.badAt), last.bad)
	case last.goodAt.IsZero():
		f.Unknown, f.Good = true, "no request since the gateway started; "+hint
	default:
		f.Good = fmt.Sprintf("last request %s ago, with a valid signature", l.ago(last.goodAt))
	}
	return f
}

func (l *RequestLog) ago(t time.Time) time.Duration { return l.now().Sub(t).Round(time.Second) }
