// Package faults makes a server misbehave by script, for tests.
//
// A Faults stands before a handler. Rules say which requests go wrong, how, and how often;
// everything else passes. What goes wrong inside of Bitbucket, like expired and revoked
// tokens, is asked of the bitbuckettest.Server itself.
//
//	f := faults.New(server)
//	f.Add(faults.Rule{Method: "POST", Path: "/2.0/repositories/*/*/hooks", Times: 2, Fault: faults.Status(503, "")})
package faults

import (
	"net/http"
	"path"
	"strings"
	"sync"
)

// A Fault answers a request in place of next, or around it.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// A Rule says which requests meet a fault.
type Rule struct {
	Method string // "" = any
	Path   string // as path.Match has it; a last element ** matches any rest; "" = any
	Skip   int    // so many matching requests pass first
	Times  int    // so many then meet the fault; 0 = all
	Fault  Fault
}

func (r Rule) matches(request *http.Request) bool {
	if r.Method != "" && r.Method != request.Method {
		return false
	}
	return r.Path == "" || matchPath(r.Path, request.URL.Path)
}

// matchPath matches element by element.
func matchPath(pattern, name string) bool {
	head, open := strings.CutSuffix(pattern, "/**")
	if open {
		elements := strings.Split(name, "/")
		n := strings.Count(head, "/") + 1
		if len(elements) <= n {
			return false
		}
		pattern, name = head, strings.Join(elements[:n], "/")
	}
	matched, err := path.Match(pattern, name)
	return err == nil && matched
}

// A Script is a rule at work.
type Script struct {
	faults *Faults
	rule   Rule
	seen   int // matching requests so far, guarded by faults.mu
	hits   int
	over   bool
}

// Hits returns how many requests met the fault so far.
func (s *Script) Hits() int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.hits
}

// Stop lets all later requests pass.
func (s *Script) Stop() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.over = true
}

// Faults is a handler with scripted faults. It is safe for concurrent use.
type Faults struct {
	next http.Handler

	mu      sync.Mutex
	scripts []*Script
}

// New stands before next and lets everything pass.
func New(next http.Handler) *Faults { return &Faults{next: next} }

// Add starts a rule. Of the rules that match a request and are not used up, the one added
// first decides.
func (f *Faults) Add(r Rule) *Script {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &Script{faults: f, rule: r}
	f.scripts = append(f.scripts, s)
	return s
}

// ServeHTTP passes a request on, or has a fault answer it.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := f.pick(r); fault != nil {
		fault(w, r, f.next)
		return
	}
	f.next.ServeHTTP(w, r)
}

func (f *Faults) pick(r *http.Request) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.scripts {
		used := s.rule.Times > 0 && s.hits >= s.rule.Times
		if s.over || used || !s.rule.matches(r) {
			continue
		}
		s.seen++
		if s.seen <= s.rule.Skip {
			return nil
		}
		s.hits++
		return s.rule.Fault
	}
	return nil
}
