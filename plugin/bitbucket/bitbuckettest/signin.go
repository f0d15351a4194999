package bitbuckettest

import (
	"net/http"
	"net/url"
	"strings"
)

// home is the address without a path, for a person who follows the host's name.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	visitor := s.visit(w, r)
	name := ""
	if visitor.user != nil {
		name = visitor.user.Name
	}
	showPage(w, http.StatusOK, "", homePage, object{"User": name})
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	s.showSignIn(w, s.visit(w, r), http.StatusOK, r.URL.Query().Get("next"), "")
}

func (s *Server) showSignIn(w http.ResponseWriter, visitor session, status int, next, problem string) {
	allowed := ""
	if query, ok := authorizationQuery(next); ok {
		if a, unknown := s.readAuthorization(query); unknown == "" {
			allowed = origin(a) // who granted before is sent there from the form
		}
	}
	showPage(w, status, allowed, signInPage, object{"Token": visitor.token, "Next": next, "Problem": problem})
}

// authorizationQuery takes apart the address of an authorization request on this host.
func authorizationQuery(next string) (url.Values, bool) {
	query, ok := strings.CutPrefix(next, "/site/oauth2/authorize?")
	if !ok {
		return nil, false
	}
	values, err := url.ParseQuery(query)
	return values, err == nil
}

// signIn takes the log-in page's answer and goes on to where the person was going.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	form := readForm(w, r)
	visitor, next := s.visit(w, r), form.Get("next")
	if !visitor.meant(form) {
		s.showProblem(w, http.StatusForbidden, "CSRF verification failed. Please go back and try again.")
		return
	}
	if !s.logIn(w, r, form.Get("username"), form.Get("password")) {
		s.showSignIn(w, visitor, http.StatusUnauthorized, next, "Incorrect username or password.")
		return
	}
	if _, ok := authorizationQuery(next); !ok {
		next = "/"
	}
	http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // a path of this host
}

// logIn starts a new session, under a new id, for who knows the password.
func (s *Server) logIn(w http.ResponseWriter, r *http.Request, name, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.world.users {
		if (u.Name == name || u.Email == name) && !u.password.IsZero() && u.password.Reveal() == password {
			if cookie, err := r.Cookie(sessionCookie); err == nil {
				delete(s.oauth.sessions, cookie.Value)
			}
			s.newSession(w, r, u)
			return true
		}
	}
	return false
}
