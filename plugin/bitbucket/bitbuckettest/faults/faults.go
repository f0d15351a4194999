// Package faults injects faults into an http.Handler, for tests.
//
// A Faults wraps a handler. Its rules select requests and define their faults and how often they occur.
// All other requests pass. For states of Bitbucket itself, for example expired or revoked tokens, use the
// methods of bitbuckettest.Server.
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

// A Fault handles a request. It may call next.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// A Rule selects requests and defines their fault.
type Rule struct {
	Method string // "" = any
	Path   string // pattern of path.Match; a last element ** matches any rest; "" = any
	Skip   int    // number of matching requests that pass first
	Times  int    // number of requests with the fault after that; 0 = all
	Fault  Fault
}

func (r Rule) matches(request *http.Request) bool {
	if r.Method != "" && r.Method != request.Method {
		return false
	}
	return r.Path == "" || matchPath(r.Path, request.URL.Path)
}

// matchPath matches a path with a pattern, element by element.
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

// A Script is an active rule.
type Script struct {
	faults *Faults
	rule   Rule
	seen   int // matching requests so far, guarded by faults.mu
	hits   int
	over   bool
}

// Hits returns the number of requests with the fault so far.
func (s *Script) Hits() int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.hits
}

// Stop ends the rule: all later requests pass.
func (s *Script) Stop() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.over = true
}

// Faults is a handler with injected faults. It is safe for concurrent use.
type Faults struct {
	next http.Handler

	mu      sync.Mutex
	scripts []*Script
}

// New returns a handler that passes all requests to next until a rule is added.
func New(next http.Handler) *Faults { return &Faults{next: next} }

// Add starts a rule. If several active rules match a request, the first one applies.
func (f *Faults) Add(r Rule) *Script {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &Script{faults: f, rule: r}
	f.scripts = append(f.scripts, s)
	return s
}

// ServeHTTP calls the fault of the request, if any, or the wrapped handler.
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
