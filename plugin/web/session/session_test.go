package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/session"
)

type env struct {
	store  *store.Store
	user   autobuild.User
	now    time.Time
	engine *gin.Engine
}

func newEnv(t *testing.T, url string) *env {
	t.Helper()
	gin.SetMode(gin.TestMode)
	e := &env{now: time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)}
	e.store = storetest.OpenAt(t, t.TempDir(), func() time.Time { return e.now })
	var err error
	e.user, err = e.store.SaveUser(t.Context(), autobuild.User{Name: "alice", Role: autobuild.RoleNone})
	if err != nil {
		t.Fatal(err)
	}
	m := session.New(session.Options{Store: e.store, URL: url, Now: func() time.Time { return e.now }})
	log, _ := logtest.NewNullLogger()
	e.engine = gin.New()
	e.engine.Use(httpx.Errors(log, httpx.JSON), m.Load())
	e.engine.GET("/in", httpx.Handle(func(c *gin.Context) error { return m.Start(c, e.user.ID, autobuild.Grant{}) }))
	e.engine.GET("/out", httpx.Handle(m.End))
	e.engine.GET("/who", httpx.Handle(func(c *gin.Context) error {
		user, _ := session.User(c)
		c.String(http.StatusOK, "%s", user.Name)
		return nil
	}))
	e.engine.GET(
		"/browser",
		httpx.Handle(func(c *gin.Context) error { c.String(http.StatusOK, "%s", m.Browser(c)); return nil }),
	)
	e.engine.GET(
		"/taken",
		httpx.Handle(func(c *gin.Context) error { c.String(http.StatusOK, "%s", m.TakeBrowser(c)); return nil }),
	)
	e.engine.GET("/again", httpx.Handle(func(c *gin.Context) error {
		user, err := m.Reload(c)
		if err == nil {
			c.String(http.StatusOK, "%s", user.Name)
		}
		return err
	}))
	e.engine.Any("/ask", httpx.Handle(session.AskToSignIn))
	return e
}

func (e *env) do(method, path string, cookies ...*http.Cookie) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	e.engine.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(b.String(), "\r\n\r\n")
	return text
}

func TestS3CookieIsBoundToTheHost(t *testing.T) {
	c := newEnv(t, "https://slipway.example.com").do("GET", "/in").Cookies()[0]
	if c.Name != "__Host-slipway" {
		t.Errorf(`name: got %q, want "__Host-slipway"`, c.Name)
	}
	if !c.Secure {
		t.Error("Secure attribute: got false, want true")
	}
	if !c.HttpOnly {
		t.Error("HttpOnly attribute: got false, want true")
	}
	if c.SameSite != http.SameSiteLaxMode {
		t.Errorf("SameSite: got %v, want %v", c.SameSite, http.SameSiteLaxMode)
	}
	if c.Path != "/" {
		t.Errorf(`path: got %q, want "/"`, c.Path)
	}
	if c.Domain != "" {
		t.Errorf(`domain: got %q, want ""`, c.Domain)
	}
	if len(c.Value) != 43 {
		t.Errorf("length of the cookie: got %d characters, want 32 bytes in base64", len(c.Value))
	}
	plain := newEnv(t, "http://localhost:8080").do("GET", "/in").Cookies()[0]
	if plain.Name != "slipway" {
		t.Errorf(`name: got %q, want "slipway"`, plain.Name)
	}
	if plain.Secure {
		t.Error("Secure attribute: got true, want false")
	}
}

func TestS3SessionFixation(t *testing.T) {
	e := newEnv(t, "https://slipway.example.com")
	before := e.do("GET", "/in").Cookies()[0]
	after := e.do("GET", "/in", before).Cookies()[0]
	if before.Value == after.Value {
		t.Fatal("session ID after the sign-in: got the old one, want a new one")
	}
	if got := body(t, e.do("GET", "/who", before)); got != "" {
		t.Errorf(`the old cookie: got %q, want ""`, got)
	}
	if got := body(t, e.do("GET", "/who", after)); got != "alice" {
		t.Errorf(`the new cookie: got %q, want "alice"`, got)
	}
	planted := &http.Cookie{Name: "__Host-slipway", Value: strings.Repeat("a", 64)}
	if got := e.do("GET", "/in", planted).Cookies()[0]; got.Value == planted.Value {
		t.Error("session ID: got the planted one, want a new one")
	}
}

func TestSessionsEnd(t *testing.T) {
	e := newEnv(t, "https://slipway.example.com")
	c := e.do("GET", "/in").Cookies()[0]
	if gone := e.do("GET", "/out", c).Cookies()[0]; gone.MaxAge >= 0 {
		t.Errorf("the cookie stays: got MaxAge %v, want less than 0", gone.MaxAge)
	}
	if got := body(t, e.do("GET", "/who", c)); got != "" {
		t.Errorf(`after the sign-out cookie: got %q, want ""`, got)
	}
	c = e.do("GET", "/in").Cookies()[0]
	e.now = e.now.Add(session.Lifetime + time.Minute)
	if got := body(t, e.do("GET", "/who", c)); got != "" {
		t.Errorf(`after its time cookie: got %q, want ""`, got)
	}
}

func TestAskToSignIn(t *testing.T) {
	e := newEnv(t, "https://slipway.example.com")
	r := e.do("GET", "/ask?a=b")
	if r.StatusCode != http.StatusSeeOther {
		t.Errorf("status: got %v, want %v", r.StatusCode, http.StatusSeeOther)
	}
	if r.Header.Get("Location") != "/signin?return_to=%2Fask%3Fa%3Db" {
		t.Errorf(`Location: got %q, want "/signin?return_to=%%2Fask%%3Fa%%3Db"`, r.Header.Get("Location"))
	}
	if r := e.do("POST", "/ask"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST: got %d, want 401", r.StatusCode)
	}
}

func TestReload(t *testing.T) {
	e := newEnv(t, "https://slipway.example.com")
	c := e.do("GET", "/in").Cookies()[0]
	if got := body(t, e.do("GET", "/again", c)); got != "alice" {
		t.Errorf("a session: got %q, want alice", got)
	}
	if err := e.store.EndSessions(t.Context(), e.user.ID); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*http.Response{
		"an ended session": e.do("GET", "/again", c), "no session": e.do("GET", "/again"),
	} {
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", name, r.StatusCode)
		}
	}
}

func TestBrowserIDIsTakenOnce(t *testing.T) {
	e := newEnv(t, "https://slipway.example.com")
	given := e.do("GET", "/browser")
	c := given.Cookies()[0]
	if id := body(t, given); id != c.Value {
		t.Errorf("session ID: got %v, want %v", id, c.Value)
	} else if len(id) != 43 {
		t.Errorf("length of id: got %d, want 43 (%v)", len(id), id)
	}
	if again := e.do("GET", "/browser", c); body(t, again) != c.Value {
		t.Errorf("session ID: got %v, want %v", body(t, again), c.Value)
	} else if len(again.Cookies()) != 0 {
		t.Errorf("cookies of the second response: got %d, want 0 (%v)", len(again.Cookies()), again.Cookies())
	}
	taken := e.do("GET", "/taken", c)
	if body(t, taken) != c.Value {
		t.Errorf("session ID: got %v, want %v", body(t, taken), c.Value)
	}
	if taken.Cookies()[0].MaxAge >= 0 {
		t.Errorf("Max-Age: got %v, want less than 0", taken.Cookies()[0].MaxAge)
	}
}

// S3: a link that was started before signing out cannot be finished in the same browser, because it
// would sign the user in again.
func TestS3SigningOutEndsAStartedLink(t *testing.T) {
	e := newEnv(t, "https://ci.example.com")
	for _, c := range e.do(http.MethodGet, "/out").Cookies() {
		if c.Name == "__Host-slipway-flow" && c.MaxAge < 0 {
			return
		}
	}
	t.Error("cookie that binds a link to its browser: got it kept, want it removed")
}
