package bitbuckettest

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
)

// Names of cookies and of form fields.
const (
	sessionCookie = "bb_session"
	tokenField    = "csrfmiddlewaretoken"
)

// A session is the session of a browser, from its first page on.
type session struct {
	user  *User // nil until the log-in
	token string
}

func (s *Server) webRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /site/style.css", s.style)
	mux.HandleFunc("GET /account/signin/", s.signInPage)
	mux.HandleFunc("POST /account/signin/", s.signIn)
	mux.HandleFunc("GET /site/oauth2/authorize", s.authorize)
	mux.HandleFunc("POST /site/oauth2/authorize", s.decide)
	mux.HandleFunc("POST /site/oauth2/access_token", s.serveToken)
	return mux
}

// An authorization is a valid authorization request of a consumer:
// https://www.rfc-editor.org/rfc/rfc6749#section-4.1.1
type authorization struct {
	consumer    *Consumer
	redirectURI string // as in the request
	state       string
	challenge   string
}

// readAuthorization checks the consumer and the redirect URI. If they are invalid, it returns a message
// for the person, because the server must not redirect to an invalid URI.
func (s *Server) readAuthorization(query url.Values) (a authorization, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.consumer = s.consumer(query.Get("client_id"))
	a.redirectURI, a.state, a.challenge = query.Get("redirect_uri"), query.Get("state"), query.Get("code_challenge")
	switch {
	case a.consumer == nil:
		return a, "Invalid client_id: this integration is not known to Bitbucket."
	case !a.consumer.accepts(a.redirectURI):
		return a, "Invalid redirect_uri: it must equal the integration's callback URL or extend it."
	default:
		return a, ""
	}
}

// redirect sends the browser back to the consumer.
func (a authorization) redirect(w http.ResponseWriter, r *http.Request, response url.Values) {
	target := a.redirectURI
	if target == "" {
		target = a.consumer.Callback
	}
	if a.state != "" {
		response.Set("state", a.state)
	}
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	http.Redirect(w, r, target+separator+response.Encode(), http.StatusFound) //nolint:gosec // a registered URI
}

func errorResponse(code, description string) url.Values {
	return url.Values{"error": {code}, "error_description": {description}}
}

// unsupported returns the error parameters of the redirect for an unsupported request, or nil.
func unsupported(query url.Values) url.Values {
	if kind := query.Get("response_type"); kind != "code" {
		return errorResponse("unsupported_response_type", "Unsupported response type: "+kind)
	}
	if query.Get("code_challenge") != "" && query.Get("code_challenge_method") != "S256" {
		return errorResponse("invalid_request", "Unsupported code_challenge_method")
	}
	return nil
}

// authorize shows the log-in page and the grant page. It skips the pages of steps that are done.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	a, problem := s.readAuthorization(query)
	if problem != "" {
		s.showProblem(w, http.StatusBadRequest, problem)
		return
	}
	if response := unsupported(query); response != nil {
		a.redirect(w, r, response)
		return
	}
	visitor := s.visit(w, r)
	if visitor.user == nil {
		http.Redirect(w, r, "/account/signin/?"+url.Values{"next": {r.URL.RequestURI()}}.Encode(), http.StatusFound)
		return
	}
	grant := grantID{user: visitor.user, consumer: a.consumer}
	if s.granted(grant) {
		a.redirect(w, r, url.Values{"code": {s.newCode(grant, a)}})
		return
	}
	showPage(w, http.StatusOK, origin(a), grantPage, object{
		"Token": visitor.token, "User": visitor.user.Name, "Workspace": a.consumer.Workspace.Slug,
		"Scopes": describeScopes(a.consumer.Scopes), "Action": r.URL.RequestURI(),
	})
}

// decide handles the form of the grant page. The URL contains the authorization request, which is checked
// again.
func (s *Server) decide(w http.ResponseWriter, r *http.Request) {
	form := readForm(w, r)
	a, problem := s.readAuthorization(r.URL.Query())
	visitor := s.visit(w, r)
	switch {
	case problem != "":
		s.showProblem(w, http.StatusBadRequest, problem)
	case !visitor.hasToken(form) || visitor.user == nil:
		s.showProblem(w, http.StatusForbidden, "CSRF verification failed. Please go back and try again.")
	case unsupported(r.URL.Query()) != nil:
		a.redirect(w, r, unsupported(r.URL.Query()))
	case form.Get("action") != "grant":
		a.redirect(w, r, errorResponse("access_denied", "The user denied access to the application"))
	default:
		grant := grantID{user: visitor.user, consumer: a.consumer}
		s.mu.Lock()
		s.oauth.grants[grant] = true
		s.mu.Unlock()
		a.redirect(w, r, url.Values{"code": {s.newCode(grant, a)}})
	}
}

func (s *Server) granted(grant grantID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oauth.grants[grant]
}

func (s *Server) newCode(grant grantID, a authorization) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	value := randomText(18)
	s.oauth.codes[value] = &code{
		grant: grant, redirectURI: a.redirectURI, challenge: a.challenge, expires: s.now().Add(s.options.CodeTTL),
	}
	return value
}

// visit returns the browser's session. It starts one if necessary.
func (s *Server) visit(w http.ResponseWriter, r *http.Request) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		if known, ok := s.oauth.sessions[cookie.Value]; ok {
			return *known
		}
	}
	return s.newSession(w, r, nil)
}

func (s *Server) newSession(w http.ResponseWriter, r *http.Request, u *User) session {
	id, started := randomText(24), &session{user: u, token: randomText(24)}
	s.oauth.sessions[id] = started
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure with TLS
		Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
	return *started
}

// hasToken reports whether a form has the CSRF token of the session.
func (v session) hasToken(form url.Values) bool {
	return subtle.ConstantTimeCompare([]byte(form.Get(tokenField)), []byte(v.token)) == 1
}
