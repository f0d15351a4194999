package pages_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"golang.org/x/net/html"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/pages/pagestest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	m.Run()
}

// An env serves a sample's pages.
type env struct {
	*pagestest.Sample
	engine  *gin.Engine
	cookies map[autobuild.Role]*http.Cookie // of one session per role
}

func newEnv(s *pagestest.Sample) *env {
	e := gin.New()
	e.Use(httpx.RequestIDs(), httpx.Errors(s.Log, s.Pages.WriteError), s.Sessions.Load())
	for _, r := range s.Pages.Routes() {
		e.Handle(r.Method, r.Path, httpx.Handle(r.Handler))
	}
	return &env{s, e, map[autobuild.Role]*http.Cookie{}}
}

// A reply is a response with its page parsed.
type reply struct {
	*http.Response
	Text string
	Page *html.Node
}

func (s *env) do(t *testing.T, r *http.Request, cookies ...*http.Cookie) reply {
	t.Helper()
	for _, c := range cookies {
		if c != nil {
			r.AddCookie(c)
		}
	}
	w := httptest.NewRecorder()
	s.engine.ServeHTTP(w, r)
	page, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	return reply{w.Result(), w.Body.String(), page}
}

func (s *env) get(t *testing.T, role autobuild.Role, path string) reply {
	t.Helper()
	return s.do(t, httptest.NewRequest(http.MethodGet, path, nil), s.cookie(t, role))
}

func (s *env) post(t *testing.T, role autobuild.Role, path string, values ...string) reply {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(values); i += 2 {
		form.Add(values[i], values[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(t, r, s.cookie(t, role))
}

func (s *env) cookie(t *testing.T, role autobuild.Role) *http.Cookie {
	t.Helper()
	if role == "" {
		return nil
	}
	if s.cookies[role] == nil {
		s.cookies[role] = s.Cookie(t, role)
	}
	return s.cookies[role]
}

// follow opens the page that a redirect leads to.
func (s *env) follow(t *testing.T, role autobuild.Role, r reply) reply {
	t.Helper()
	if r.StatusCode != http.StatusSeeOther {
		t.Fatalf("status: got %d, want 303: %s", r.StatusCode, words(r.main()))
	}
	where, _, _ := strings.Cut(r.Header.Get("Location"), "#") // browsers keep the fragment to themselves
	return s.get(t, role, where)
}

func (r reply) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("status: got %d, want %d: %s", r.StatusCode, status, words(r.main()))
	}
	for _, text := range texts {
		if !strings.Contains(words(r.main()), text) {
			t.Errorf("page: got %s, want it to contain %q", words(r.main()), text)
		}
	}
}

func (r reply) wantRedirect(t *testing.T, to string) {
	t.Helper()
	if r.StatusCode != http.StatusSeeOther {
		t.Fatalf("status: got %v, want %v", r.StatusCode, http.StatusSeeOther)
	}
	if r.Header.Get("Location") != to {
		t.Fatalf("Location: got %v, want %v", r.Header.Get("Location"), to)
	}
}

func (r reply) main() *html.Node {
	if main := find(r.Page, "main"); len(main) > 0 {
		return main[0]
	}
	return r.Page
}

// value returns the value of the control with a name.
func (r reply) value(t *testing.T, name string) string {
	t.Helper()
	for _, n := range find(r.Page, "input", "select", "textarea") {
		if attr(n, "name") != name {
			continue
		}
		switch n.Data {
		case "textarea":
			return words(n)
		case "select":
			for _, o := range find(n, "option") {
				if has(o, "selected") {
					return attr(o, "value")
				}
			}
			return ""
		}
		if attr(n, "type") == "checkbox" && !has(n, "checked") {
			return ""
		}
		return attr(n, "value")
	}
	t.Fatalf("control %s: got none, want one", name)
	return ""
}

func find(root *html.Node, names ...string) []*html.Node {
	var all []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && slices.Contains(names, n.Data) {
			all = append(all, n)
		}
	}
	return all
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// words returns the text below a node with single spaces.
func words(n *html.Node) string {
	var all []string
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			all = append(all, strings.Fields(d.Data)...)
		}
	}
	return strings.Join(all, " ")
}
