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

type fixture struct {
	store  *store.Store
	user   autobuild.User
	now    time.Time
	engine *gin.Engine
}

func open(t *testing.T, url string) *fixture {
	t.Helper()
	gin.SetMode(gin.TestMode)
	f := &fixture{now: time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)}
	f.store = storetest.OpenAt(t, t.TempDir(), func() time.Time { return f.now })
	var err error
	if f.user, err = f.store.SaveUser(
		t.Context(),
		autobuild.User{Name: "alice", Role: autobuild.RoleNone},
	); err != nil {
		t.Fatal(err)
	}
	m := session.New(session.Options{Store: f.store, URL: url, Now: func() time.Time { return f.now }})
	log, _ := logtest.NewNullLogger()
	f.engine = gin.New()
	f.engine.Use(httpx.Errors(log, httpx.JSON), m.Load())
	f.engine.GET("/in", httpx.Handle(func(c *gin.Context) error { return m.Start(c, f.user.ID, autobuild.Grant{}) }))
	f.engine.GET("/out", httpx.Handle(m.End))
	f.engine.GET("/who", httpx.Handle(func(c *gin.Context) error {
		user, _ := session.User(c)
		c.String(http.StatusOK, "%s", user.Name)
		return nil
	}))
	f.engine.GET(
		"/browser",
		httpx.Handle(func(c *gin.Context) error { c.String(http.StatusOK, "%s", m.Browser(c)); return nil }),
	)
	f.engine.GET(
		"/taken",
		httpx.Handle(func(c *gin.Context) error { c.String(http.StatusOK, "%s", m.TakeBrowser(c)); return nil }),
	)
	f.engine.GET("/again", httpx.Handle(func(c *gin.Context) error {
		user, err := m.Reload(c)
		if err == nil {
			c.String(http.StatusOK, "%s", user.Name)
		}
		return err
	}))
	f.engine.Any("/ask", httpx.Handle(session.AskToSignIn))
	return f
}

func (f *fixture) do(method, path string, cookies ...*http.Cookie) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	f.engine.ServeHTTP(w, r)
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
	c := open(t, "https://slipway.example.com").do("GET", "/in").Cookies()[0]
	if c.Name != "__Host-slipway" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" ||
		c.Domain != "" {
		t.Errorf("cookie %+v", c)
	}
	if len(c.Value) != 43 {
		t.Errorf("the cookie has %d characters, want 32 bytes in base64", len(c.Value))
	}
	plain := open(t, "http://localhost:8080").do("GET", "/in").Cookies()[0]
	if plain.Name != "slipway" || plain.Secure {
		t.Errorf("cookie over plain HTTP %+v", plain)
	}
}

func TestS3SessionFixation(t *testing.T) {
	f := open(t, "https://slipway.example.com")
	before := f.do("GET", "/in").Cookies()[0]
	after := f.do("GET", "/in", before).Cookies()[0]
	if before.Value == after.Value {
		t.Fatal("the id is the same after the sign-in")
	}
	if got := body(t, f.do("GET", "/who", before)); got != "" {
		t.Errorf("the old cookie still is %q", got)
	}
	if got := body(t, f.do("GET", "/who", after)); got != "alice" {
		t.Errorf("the new cookie is %q", got)
	}
	planted := &http.Cookie{Name: "__Host-slipway", Value: strings.Repeat("a", 64)}
	if got := f.do("GET", "/in", planted).Cookies()[0]; got.Value == planted.Value {
		t.Error("a planted id was taken over")
	}
}

func TestSessionsEnd(t *testing.T) {
	f := open(t, "https://slipway.example.com")
	c := f.do("GET", "/in").Cookies()[0]
	if gone := f.do("GET", "/out", c).Cookies()[0]; gone.MaxAge >= 0 {
		t.Errorf("the cookie stays: %+v", gone)
	}
	if got := body(t, f.do("GET", "/who", c)); got != "" {
		t.Errorf("after the sign-out the cookie is %q", got)
	}
	c = f.do("GET", "/in").Cookies()[0]
	f.now = f.now.Add(session.Lifetime + time.Minute)
	if got := body(t, f.do("GET", "/who", c)); got != "" {
		t.Errorf("after its time the cookie is %q", got)
	}
}

func TestAskToSignIn(t *testing.T) {
	f := open(t, "https://slipway.example.com")
	r := f.do("GET", "/ask?a=b")
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/signin?return_to=%2Fask%3Fa%3Db" {
		t.Errorf("GET: got %d to %s, want 303 to the sign-in page and back", r.StatusCode, r.Header.Get("Location"))
	}
	if r := f.do("POST", "/ask"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST: got %d, want 401", r.StatusCode)
	}
}

func TestReload(t *testing.T) {
	f := open(t, "https://slipway.example.com")
	c := f.do("GET", "/in").Cookies()[0]
	if got := body(t, f.do("GET", "/again", c)); got != "alice" {
		t.Errorf("a session: got %q, want alice", got)
	}
	if err := f.store.EndSessions(t.Context(), f.user.ID); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*http.Response{"an ended session": f.do("GET", "/again", c), "no session": f.do("GET", "/again")} {
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", name, r.StatusCode)
		}
	}
}

func TestBrowserIDIsTakenOnce(t *testing.T) {
	f := open(t, "https://slipway.example.com")
	given := f.do("GET", "/browser")
	c := given.Cookies()[0]
	if id := body(t, given); id != c.Value || len(id) != 43 {
		t.Errorf("id %q, cookie %q", id, c.Value)
	}
	if again := f.do("GET", "/browser", c); body(t, again) != c.Value || len(again.Cookies()) != 0 {
		t.Error("a browser that has an id got another")
	}
	taken := f.do("GET", "/taken", c)
	if body(t, taken) != c.Value || taken.Cookies()[0].MaxAge >= 0 {
		t.Error("the id was not taken")
	}
}

// S3: a link that somebody began before signing out cannot be finished at the same browser: its
// end would sign in who began it.
func TestS3SigningOutEndsALinkUnderWay(t *testing.T) {
	f := open(t, "https://ci.example.com")
	for _, c := range f.do(http.MethodGet, "/out").Cookies() {
		if c.Name == "__Host-slipway-flow" && c.MaxAge < 0 {
			return
		}
	}
	t.Error("the cookie that binds a link to its browser stays")
}
