package localenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/html"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// sessionCookie is the name of the gateway's session cookie over plain HTTP.
const sessionCookie = "slipway"

// A Person is a user of the Bitbucket. A new person has no permissions.
type Person struct {
	*bitbuckettest.User
	Password secret.Secret
}

// AddPerson adds a person with a password for the Bitbucket and for git.
func (env *Env) AddPerson(name string) Person {
	p := Person{User: env.Bitbucket.AddUser(name), Password: secret.New(name + "-password-" + env.Password.Reveal())}
	p.SetPassword(p.Password)
	p.SetGitPassword(p.Password)
	return p
}

// SignIn signs a person in to the gateway with their Bitbucket account, in a new browser.
func (env *Env) SignIn(ctx context.Context, p Person) (*Browser, error) {
	b, err := NewBrowser()
	if err != nil {
		return nil, err
	}
	if err := b.Visit(ctx, env.Gateway.URL+"/signin"); err != nil {
		return nil, err
	}
	if err := b.Follow(ctx, "/oauth/bitbucket/link"); err != nil {
		return nil, err
	}
	err = env.grant(ctx, b, p)
	// A person without permissions is signed in, but the page that follows returns an error.
	if b.SessionCookie() == "" {
		return nil, fmt.Errorf("sign in as %s: the gateway set no session cookie: %w: %s", p.Name, err, b.Text())
	}
	return b, nil
}

// grant logs a person in at Bitbucket and grants access, unless that was done before.
func (env *Env) grant(ctx context.Context, b *Browser, p Person) error {
	if b.Has("password") {
		login := url.Values{"username": {p.Name}, "password": {p.Password.Reveal()}}
		if err := b.Submit(ctx, b.at.Path, login); err != nil {
			return fmt.Errorf("log in at Bitbucket as %s: %w", p.Name, err)
		}
	}
	if !strings.HasPrefix(b.at.String(), env.Bitbucket.URL()) {
		return nil
	}
	if err := b.Submit(ctx, b.at.Path, url.Values{"action": {"grant"}}); err != nil {
		return fmt.Errorf("grant access at Bitbucket as %s: %w", p.Name, err)
	}
	return nil
}

// CheckoutAs returns a person's clone of a repository with the branch main.
func (env *Env) CheckoutAs(ctx context.Context, p Person, r *bitbuckettest.Repository) (*Checkout, error) {
	dir, err := os.MkdirTemp(env.Dir, "checkout-")
	if err != nil {
		return nil, err
	}
	c, err := NewCheckout(ctx, dir, r.CloneURL(), p.Name, p.Password)
	if err != nil {
		return nil, err
	}
	if _, err := c.Git(ctx, "pull", "--quiet", "origin", "main"); err != nil {
		return nil, err
	}
	return c, nil
}

// SessionCookie returns the Cookie header of the gateway's session, or "" without a session.
// Bitbucket and the gateway share a host here, so that other cookies in the jar may be Bitbucket's.
func (b *Browser) SessionCookie() string {
	for _, c := range b.client.Jar.Cookies(b.at) {
		if c.Name == sessionCookie {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// Actions returns the paths of the actions of the page's forms.
func (b *Browser) Actions() (actions []string) {
	if b.page == nil {
		return nil
	}
	for n := range b.page.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" {
			actions = append(actions, path(attr(n, "action"), b.at))
		}
	}
	return actions
}

// A Response is an HTTP response with at most 4 MiB of its body.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Send sends one request with exactly these headers. It does not follow redirects.
func Send(ctx context.Context, method, address, body string, header http.Header) (Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return Response{}, fmt.Errorf("%s %s: %w", method, address, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return Response{}, fmt.Errorf("%s %s: %w", method, address, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil && !errors.Is(err, context.DeadlineExceeded) { // a stream is read until ctx ends
		return Response{}, fmt.Errorf("read the response of %s: %w", address, err)
	}
	return Response{Status: resp.StatusCode, Header: resp.Header, Body: string(text)}, nil
}

// RowContains reports whether the table row, list item or section around a form contains a text.
func (b *Browser) RowContains(action, text string) bool {
	form := find(b.page, func(n *html.Node) bool { return n.Data == "form" && path(attr(n, "action"), b.at) == action })
	for n := form; n != nil; n = n.Parent {
		if n.Data == "tr" || n.Data == "li" || n.Data == "section" {
			return strings.Contains(textOf(n), text)
		}
	}
	return false
}
