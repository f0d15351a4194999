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

// A Person has an account at the Bitbucket and no permission on anything yet.
type Person struct {
	*bitbuckettest.User
	Password secret.Secret
}

// AddPerson adds a person who can log in at the Bitbucket and push with git.
func (w *Env) AddPerson(name string) Person {
	p := Person{User: w.Bitbucket.AddUser(name), Password: secret.New(name + "-password-" + w.Password.Reveal())}
	p.SetPassword(p.Password)
	p.SetGitPassword(p.Password)
	return p
}

// SignIn signs a person in at the gateway through the Bitbucket, in a browser of their own.
func (w *Env) SignIn(ctx context.Context, p Person) (*Browser, error) {
	b, err := NewBrowser()
	if err != nil {
		return nil, err
	}
	if err := b.Visit(ctx, w.Gateway.URL+"/signin"); err != nil {
		return nil, err
	}
	if err := b.Follow(ctx, "/oauth/bitbucket/link"); err != nil {
		return nil, err
	}
	err = w.grant(ctx, b, p)
	// A person without any right lands on a page that refuses them, signed in all the same.
	if b.SessionCookie() == "" {
		return nil, fmt.Errorf("sign in as %s: the gateway set no session cookie: %w: %s", p.Name, err, b.Text())
	}
	return b, nil
}

// grant logs a person in at Bitbucket, if they are not, and grants access, if they did not yet.
func (w *Env) grant(ctx context.Context, b *Browser, p Person) error {
	if b.Has("password") {
		if err := b.Submit(
			ctx,
			b.at.Path,
			url.Values{"username": {p.Name}, "password": {p.Password.Reveal()}},
		); err != nil {
			return fmt.Errorf("log in at Bitbucket as %s: %w", p.Name, err)
		}
	}
	if !strings.HasPrefix(b.at.String(), w.Bitbucket.URL()) {
		return nil
	}
	if err := b.Submit(ctx, b.at.Path, url.Values{"action": {"grant"}}); err != nil {
		return fmt.Errorf("grant access at Bitbucket as %s: %w", p.Name, err)
	}
	return nil
}

// CheckoutAs returns a person's clone of a repository's branch main, if it has one.
func (w *Env) CheckoutAs(ctx context.Context, p Person, r *bitbuckettest.Repository) (*Checkout, error) {
	dir, err := os.MkdirTemp(w.Dir, "checkout-")
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

// SessionCookie returns the Cookie header of the gateway's session; empty = there is none.
// The world's sites share the host, so the other cookies in the jar may be Bitbucket's.
func (b *Browser) SessionCookie() string {
	for _, c := range b.client.Jar.Cookies(b.at) {
		if c.Name == sessionCookie {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// Actions lists the paths that the forms of the page send to.
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

// An Answer is a whole HTTP response, with at most 4 MiB of its body.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Ask sends one request as it is given and returns the answer. It follows no redirect.
func Ask(ctx context.Context, method, address, body string, header http.Header) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", address, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", address, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil && !errors.Is(err, context.DeadlineExceeded) { // a stream is read as long as ctx lasts
		return Answer{}, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(text)}, nil
}

// HasIn reports whether the row or card around a form, up to its parent of the parents, holds a text.
func (b *Browser) HasIn(action, text string) bool {
	form := find(b.page, func(n *html.Node) bool { return n.Data == "form" && path(attr(n, "action"), b.at) == action })
	for n := form; n != nil; n = n.Parent {
		if n.Data == "tr" || n.Data == "li" || n.Data == "section" {
			return strings.Contains(textOf(n), text)
		}
	}
	return false
}
