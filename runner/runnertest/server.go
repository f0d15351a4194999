package runnertest

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A Server is an HTTP server whose requests a test may intercept.
type Server struct {
	*httptest.Server
	mu     sync.Mutex
	around func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// NewServer serves a handler until the test ends.
func NewServer(t testing.TB, next http.Handler) *Server {
	t.Helper()
	return newServer(t, next)
}

func newServer(t testing.TB, next http.Handler) *Server {
	t.Helper()
	s := &Server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		around := s.around
		s.mu.Unlock()
		if around == nil {
			next.ServeHTTP(w, r)
			return
		}
		around(w, r, next)
	}))
	t.Cleanup(s.Close)
	return s
}

// Intercept wraps every request with a function; nil removes it.
func (s *Server) Intercept(around func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.around = around
}

// RequireLogin returns a function for Intercept that requires a user name and password.
func RequireLogin(user, password string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
}
