package pipeline

import (
	"fmt"
	"sync"
	"time"
)

// Seen remembers how the CI's requests to the gateway went, for those who set it up. It is
// safe for concurrent use.
type Seen struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]seen
}

// seen is the last of one kind of request.
type seen struct {
	goodAt, badAt time.Time
	bad           string
	toldAt        time.Time // when a refusal was last worth a line
}

// NewSeen returns a memory of nothing.
func NewSeen(now func() time.Time) *Seen { return &Seen{now: now, all: map[string]seen{}} }

// Good notes a request that was signed as it must be.
func (s *Seen) Good(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[kind]
	one.goodAt = s.now()
	s.all[kind] = one
}

// tellEvery is how often refusals of one kind are worth a line of the log: strangers reach
// these addresses too, and are not to fill it.
const tellEvery = time.Minute

// Bad notes one that was refused, and reports whether to log it.
func (s *Seen) Bad(kind string, why error) (tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[kind]
	one.badAt, one.bad = s.now(), why.Error()
	if tell = one.badAt.Sub(one.toldAt) >= tellEvery; tell {
		one.toldAt = one.badAt
	}
	s.all[kind] = one
	return tell
}

// Finding tells what came of a kind of request since the gateway started; mend is for when
// none came.
func (s *Seen) Finding(kind, mend string) Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[kind]
	f := Finding{Subject: kind + " extension"}
	switch {
	case one.badAt.After(one.goodAt):
		f.Problem = fmt.Sprintf("the last request, %s ago, was refused: %s", s.ago(one.badAt), one.bad)
	case one.goodAt.IsZero():
		f.Unknown, f.Good = true, "was not asked since the gateway started; "+mend
	default:
		f.Good = fmt.Sprintf("was asked %s ago, well signed", s.ago(one.goodAt))
	}
	return f
}

func (s *Seen) ago(t time.Time) time.Duration { return s.now().Sub(t).Round(time.Second) }
