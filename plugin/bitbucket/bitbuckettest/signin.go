package bitbuckettest

import (
	"net/http"
	"net/url"
	"strings"
)

// home shows the page at the root URL.
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
			allowed = origin(a) // if access was granted before, the form redirects there
		}
	}
	showPage(w, status, allowed, signInPage, object{"Token": visitor.token, "Next": next, "Problem": problem})
}

// authorizationQuery parses the URL of an authorization request to this server.
func authorizationQuery(next string) (url.Values, bool) {
	query, ok := strings.CutPrefix(next, "/site/oauth2/authorize?")
	if !ok {
		return nil, false
	}
	values, err := url.ParseQuery(query)
	return values, err == nil
}

// signIn handles the form of the log-in page, and redirects to the next page.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	form := readForm(w, r)
	visitor, next := s.visit(w, r), form.Get("next")
	if !visitor.hasToken(form) {
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

// logIn checks the password. If it is correct, logIn starts a session with a new ID.
func (s *Server) logIn(w http.ResponseWriter, r *http.Request, name, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.state.users {
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
