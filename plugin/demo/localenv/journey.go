package localenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/html"

	"slipway/plugin/bitbucket/bitbuckettest"
)

// A Rule is a build rule as a person types it; the Dockerfile is at the root.
type Rule struct {
	Type, Source, Tags string
}

// SignInAndLink goes the way of the first administrator: sign in with the one-time token,
// then link Alice's account, logging in at Bitbucket and granting access there.
func (w *Env) SignInAndLink(ctx context.Context) (*Browser, error) {
	b, err := NewBrowser()
	if err != nil {
		return nil, err
	}
	token, err := w.Gateway.FirstToken()
	if err != nil {
		return nil, err
	}
	if err := b.Visit(ctx, w.Gateway.URL+"/signin"); err != nil {
		return nil, err
	}
	if err := b.Submit(ctx, "/signin/token", url.Values{"token": {token}}); err != nil {
		return nil, err
	}
	return b, w.LinkAccount(ctx, b)
}

// LinkAccount links Alice's account from the source providers' page.
func (w *Env) LinkAccount(ctx context.Context, b *Browser) error {
	if err := b.Visit(ctx, "/settings/providers"); err != nil {
		return err
	}
	if err := b.Follow(ctx, "/oauth/bitbucket/link"); err != nil {
		return err
	}
	if b.Has("password") {
		if err := b.Submit(
			ctx,
			b.at.Path,
			url.Values{"username": {w.Alice.Name}, "password": {w.Password.Reveal()}},
		); err != nil {
			return fmt.Errorf("log in at Bitbucket: %w", err)
		}
	}
	if strings.HasPrefix(b.at.String(), w.Bitbucket.URL()) {
		if err := b.Submit(ctx, b.at.Path, url.Values{"action": {"grant"}}); err != nil {
			return fmt.Errorf("grant access at Bitbucket: %w", err)
		}
	}
	if !strings.HasPrefix(b.at.String(), w.Gateway.URL) {
		return fmt.Errorf("bitbucket did not send the browser back: %s", b.Text())
	}
	return nil
}

// Automate makes an automated build of the sample repository, step by step through the
// pages: account, workspace, repository, Dockerfile, rules.
func (w *Env) Automate(ctx context.Context, b *Browser, rules []Rule) error {
	return w.automate(ctx, b, w.App, rules, url.Values{"image": {w.Image()}})
}

func (w *Env) automate(
	ctx context.Context,
	b *Browser,
	r *bitbuckettest.Repository,
	rules []Rule,
	further url.Values,
) error {
	if err := b.Visit(ctx, "/automated-builds/new"); err != nil {
		return err
	}
	for _, name := range []string{r.Workspace.Slug, r.FullName()} {
		if err := b.Choose(ctx, name); err != nil {
			return err
		}
	}
	values := merge(further, url.Values{"then": {"save"}})
	for i, r := range rules {
		at := fmt.Sprintf("rules[%d].", i)
		if i > 0 {
			if err := b.Submit(
				ctx,
				"/automated-builds/new",
				merge(values, url.Values{"add-rule": {"1"}, "then": nil}),
			); err != nil {
				return err
			}
		}
		values[at+"source_type"], values[at+"source"], values[at+"tags"] = []string{
			r.Type,
		}, []string{
			r.Source,
		}, []string{
			r.Tags,
		}
	}
	if err := b.Submit(ctx, "/automated-builds/new", values); err != nil {
		return err
	}
	if !strings.HasPrefix(b.at.Path, "/automated-builds/") || b.at.Path == "/automated-builds/new" {
		return fmt.Errorf("the automated build was not saved: %s", b.Text())
	}
	return nil
}

// Follow opens the page's first link to a path.
func (b *Browser) Follow(ctx context.Context, target string) error {
	link := find(b.page, func(n *html.Node) bool { return n.Data == "a" && path(attr(n, "href"), b.at) == target })
	if link == nil {
		return fmt.Errorf("page %s has no link to %s: %s", b.at.Path, target, b.Text())
	}
	return b.Visit(ctx, attr(link, "href"))
}

// Choose opens the link whose text begins with name.
func (b *Browser) Choose(ctx context.Context, name string) error {
	link := find(
		b.page,
		func(n *html.Node) bool { return n.Data == "a" && strings.HasPrefix(strings.TrimSpace(textOf(n)), name) },
	)
	if link == nil {
		return fmt.Errorf("page %s offers no %s: %s", b.at.Path, name, b.Text())
	}
	return b.Visit(ctx, attr(link, "href"))
}

// Has reports whether the page has a field of that name.
func (b *Browser) Has(field string) bool {
	return b.page != nil &&
		find(b.page, func(n *html.Node) bool { return n.Data == "input" && attr(n, "name") == field }) != nil
}

// Path is the path of the page's address.
func (b *Browser) Path() (string, error) {
	if b.at == nil {
		return "", errors.New("no page was visited")
	}
	return b.at.Path, nil
}

func textOf(n *html.Node) string {
	text := ""
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			text += d.Data
		}
	}
	return text
}

// merge returns base with the values of more; a nil value takes a name away.
func merge(base, more url.Values) url.Values {
	all := url.Values{}
	for name, v := range base {
		all[name] = v
	}
	for name, v := range more {
		if v == nil {
			delete(all, name)
			continue
		}
		all[name] = v
	}
	return all
}
