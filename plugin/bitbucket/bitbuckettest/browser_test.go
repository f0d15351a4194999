package bitbuckettest_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"slipway/config/must"
)

// browser is the browser of a person. It stores cookies and follows redirects within Bitbucket, but not
// to other origins.
type browser struct {
	http.Client
	home string
}

func newBrowser(t *testing.T, e *env) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must.Succeed(t, err)
	b := &browser{home: e.URL()}
	b.Jar = jar
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), b.home) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return b
}

var (
	formPattern  = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	inputPattern = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// page is a page of Bitbucket, or a redirect to another origin.
type page struct {
	status   int
	text     string
	location *url.URL
	policy   string
}

func (b *browser) show(t *testing.T, response *http.Response, err error) page {
	t.Helper()
	must.Succeed(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	must.Succeed(t, err)
	location, _ := response.Location()
	return page{response.StatusCode, string(text), location, response.Header.Get("Content-Security-Policy")}
}

func (b *browser) open(t *testing.T, address string) page {
	t.Helper()
	response, err := b.Get(address)
	return b.show(t, response, err)
}

// submit submits the form of a page with values, and with its hidden fields.
func (b *browser) submit(t *testing.T, shown page, values map[string]string) page {
	t.Helper()
	action := formPattern.FindStringSubmatch(shown.text)
	if action == nil {
		t.Fatalf("page: got %q, want one with a form", shown.text)
	}
	form := url.Values{}
	for _, input := range inputPattern.FindAllStringSubmatch(shown.text, -1) {
		form.Set(unescapeHTML(input[1]), unescapeHTML(input[2]))
	}
	for name, value := range values {
		form.Set(name, value)
	}
	response, err := b.PostForm(b.home+unescapeHTML(action[1]), form)
	return b.show(t, response, err)
}

func unescapeHTML(text string) string {
	return strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#39;", "'", "&#34;", `"`).Replace(text)
}

func (e *env) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID:     e.consumer.Key,
		ClientSecret: e.consumer.Secret.Reveal(),
		Endpoint: oauth2.Endpoint{
			AuthURL:  e.URL() + "/site/oauth2/authorize",
			TokenURL: e.URL() + "/site/oauth2/access_token",
		},
		RedirectURL: "https://ci.example.com/oauth/callback", // extends the callback
	}
}

// link visits the pages that are necessary to grant access, and returns the code.
func link(t *testing.T, e *env, b *browser, options ...oauth2.AuthCodeOption) string {
	t.Helper()
	shown := b.open(t, e.config().AuthCodeURL("the state", options...))
	if shown.location == nil {
		shown = b.submit(t, shown, map[string]string{"username": "alice", "password": "alice's password"})
		shown = b.submit(t, shown, map[string]string{"action": "grant"})
	}
	if shown.location == nil {
		t.Fatalf("page: got %d %s, want a redirect to the consumer", shown.status, shown.text)
	}
	if shown.location.Host != "ci.example.com" {
		t.Fatalf("redirect: got %v, want the consumer", shown.location)
	}
	if state := shown.location.Query().Get("state"); state != "the state" {
		t.Fatalf("state: got %q, want %q", state, "the state")
	}
	return shown.location.Query().Get("code")
}
