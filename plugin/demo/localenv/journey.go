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

// A Rule is a build rule as a person types it, e.g. {"branch", "main", "latest"}. Its Dockerfile is
// at the root of the repository.
type Rule struct {
	Type, Source, Tags string
}

// SignInAndLink signs in as the first administrator with the one-time token, and links Alice's
// account: it logs in at Bitbucket and grants access there.
func (env *Env) SignInAndLink(ctx context.Context) (*Browser, error) {
	b, err := NewBrowser()
	if err != nil {
		return nil, err
	}
	token, err := env.Gateway.FirstToken()
	if err != nil {
		return nil, err
	}
	if err := b.Visit(ctx, env.Gateway.URL+"/signin"); err != nil {
		return nil, err
	}
	if err := b.Submit(ctx, "/signin/token", url.Values{"token": {token}}); err != nil {
		return nil, err
	}
	return b, env.LinkAccount(ctx, b)
}

// LinkAccount links Alice's account on the page Source providers.
func (env *Env) LinkAccount(ctx context.Context, b *Browser) error {
	if err := b.Visit(ctx, "/settings/providers"); err != nil {
		return err
	}
	if err := b.Follow(ctx, "/oauth/bitbucket/link"); err != nil {
		return err
	}
	if b.Has("password") {
		login := url.Values{"username": {env.Alice.Name}, "password": {env.Password.Reveal()}}
		if err := b.Submit(ctx, b.at.Path, login); err != nil {
			return fmt.Errorf("log in at Bitbucket: %w", err)
		}
	}
	if strings.HasPrefix(b.at.String(), env.Bitbucket.URL()) {
		if err := b.Submit(ctx, b.at.Path, url.Values{"action": {"grant"}}); err != nil {
			return fmt.Errorf("grant access at Bitbucket: %w", err)
		}
	}
	if !strings.HasPrefix(b.at.String(), env.Gateway.URL) {
		return fmt.Errorf("link account: Bitbucket did not redirect to the gateway: %s", b.Text())
	}
	return nil
}

// Automate creates an automated build of the sample repository through the pages: workspace,
// repository, rules.
func (env *Env) Automate(ctx context.Context, b *Browser, rules []Rule) error {
	return env.automate(ctx, b, env.App, rules, url.Values{"image": {env.Image()}})
}

// automate creates an automated build. fields are further fields of its form.
func (env *Env) automate(
	ctx context.Context, b *Browser, r *bitbuckettest.Repository, rules []Rule, fields url.Values,
) error {
	if err := b.Visit(ctx, "/automated-builds/new"); err != nil {
		return err
	}
	for _, name := range []string{r.Workspace.Slug, r.FullName()} {
		if err := b.Choose(ctx, name); err != nil {
			return err
		}
	}
	values := merge(fields, url.Values{"then": {"save"}})
	for i, r := range rules {
		at := fmt.Sprintf("rules[%d].", i)
		if i > 0 {
			addRule := merge(values, url.Values{"add-rule": {"1"}, "then": nil})
			if err := b.Submit(ctx, "/automated-builds/new", addRule); err != nil {
				return err
			}
		}
		values.Set(at+"source_type", r.Type)
		values.Set(at+"source", r.Source)
		values.Set(at+"tags", r.Tags)
	}
	if err := b.Submit(ctx, "/automated-builds/new", values); err != nil {
		return err
	}
	if !strings.HasPrefix(b.at.Path, "/automated-builds/") || b.at.Path == "/automated-builds/new" {
		return fmt.Errorf("save automated build: %s", b.Text())
	}
	return nil
}

// Follow opens the first link to a path on the page.
func (b *Browser) Follow(ctx context.Context, target string) error {
	link := find(b.page, func(n *html.Node) bool { return n.Data == "a" && path(attr(n, "href"), b.at) == target })
	if link == nil {
		return fmt.Errorf("page %s has no link to %s: %s", b.at.Path, target, b.Text())
	}
	return b.Visit(ctx, attr(link, "href"))
}

// Choose opens the first link whose text begins with name.
func (b *Browser) Choose(ctx context.Context, name string) error {
	link := find(b.page, func(n *html.Node) bool {
		return n.Data == "a" && strings.HasPrefix(strings.TrimSpace(textOf(n)), name)
	})
	if link == nil {
		return fmt.Errorf("page %s has no link %q: %s", b.at.Path, name, b.Text())
	}
	return b.Visit(ctx, attr(link, "href"))
}

// Has reports whether the page has a field of that name.
func (b *Browser) Has(field string) bool {
	return b.page != nil &&
		find(b.page, func(n *html.Node) bool { return n.Data == "input" && attr(n, "name") == field }) != nil
}

// Path returns the path of the page's URL.
func (b *Browser) Path() (string, error) {
	if b.at == nil {
		return "", errors.New("the browser has visited no page")
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

// merge returns base with the values of more. A nil value removes a name.
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
