package pages

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
)

type providersPage struct{ Providers []providerView }

type providerView struct {
	autobuild.Provider
	Link     string // starts linking; empty if no OAuth consumer is configured
	Accounts []accountView
	Plugged  bool // at least one account can be used
}

type accountView struct {
	autobuild.Account
	Kind    string
	Owner   string // name of the user who linked it
	Missing []string
	Used    int // number of automated builds that use it
}

func linkURL(providerID, back string) string {
	return "/oauth/bitbucket/link?" + url.Values{"provider": {providerID}, "return_to": {back}}.Encode()
}

// showProviders shows the source providers with their linked accounts.
func (p *Pages) showProviders(c *gin.Context) error {
	views, err := p.providerViews(c)
	if err != nil {
		return err
	}
	return p.show(
		c,
		http.StatusOK,
		"providers",
		frame{Title: "Source providers", Nav: "settings", Content: providersPage{views}},
	)
}

func (p *Pages) providerViews(c *gin.Context) ([]providerView, error) {
	ctx := c.Request.Context()
	providers, err := p.Store.Providers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list source providers: %w", err)
	}
	linked, err := p.accountViews(c)
	if err != nil {
		return nil, err
	}
	var views []providerView
	for _, provider := range providers {
		view := providerView{Provider: provider}
		if provider.Configured() {
			view.Link = linkURL(provider.ID, "/settings/providers")
		}
		for _, a := range linked {
			if a.ProviderID == provider.ID {
				view.Accounts = append(view.Accounts, a)
				view.Plugged = view.Plugged || a.State == autobuild.AccountLinked
			}
		}
		views = append(views, view)
	}
	return views, nil
}

func (p *Pages) accountViews(c *gin.Context) ([]accountView, error) {
	ctx := c.Request.Context()
	stored, err := p.Store.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	users, err := p.Store.Users(ctx)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	used, err := p.Store.CountAutomatedBuilds(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, u := range users {
		names[u.ID] = u.Name
	}
	var views []accountView
	for _, a := range stored {
		view := accountView{Account: a, Kind: accountKind(a.Kind), Owner: names[a.UserID], Used: used[a.ID]}
		if a.Kind == autobuild.AccountOAuth {
			view.Missing = p.Accounts.MissingScopes(a)
		}
		views = append(views, view)
	}
	return views, nil
}

// unlink removes the webhooks and tokens of an account after a confirmation. It then shows how to
// revoke the access at Bitbucket.
func (p *Pages) unlink(c *gin.Context) error {
	ctx := c.Request.Context()
	a, err := p.Store.Account(ctx, c.Param("id"))
	if err != nil {
		return fmt.Errorf("account %q: %w", c.Param("id"), err)
	}
	ok, err := p.confirmed(c, "settings", confirmPage{
		Question: "Unlink " + a.Name + "?",
		Consequence: "The webhooks of this account are removed from Bitbucket, and its tokens are deleted here. " +
			"Automated builds that use the account stop until you link it again or choose another account.",
		Name:   a.Name,
		Button: "Unlink account",
		Action: "/settings/accounts/" + a.ID + "/unlink",
		Back:   "/settings/providers",
	})
	if !ok {
		return err
	}
	dropped, err := p.Catalog.DropAccount(ctx, a.ID)
	if err != nil {
		return fmt.Errorf("remove the webhooks of account %s: %w", a.Name, err)
	}
	if err := p.Accounts.Forget(ctx, a.ID); err != nil {
		return fmt.Errorf("unlink account %s: %w", a.Name, err)
	}
	provider, err := zeroIfNotFound(p.Store.Provider(ctx, a.ProviderID))
	if err != nil {
		return fmt.Errorf("provider of account %s: %w", a.Name, err)
	}
	r := formResult{Kind: resultUnlinked, Unlinked: unlinkedOf(a, provider, dropped)}
	return p.redirectResult(c, resultsPath, "", r)
}

// An unlinkedPage is the result of unlinking an account.
type unlinkedPage struct {
	Account string // name of the account
	Kind    autobuild.AccountKind
	WebURL  string // of the provider
	OAuth   bool
	Removed []string
	Failed  []failedHook
}

type failedHook struct{ Repository, Problem, URL string }

func failedOf(repository string, err error) failedHook {
	failed := failedHook{Repository: repository, Problem: "Bitbucket did not respond as expected"}
	if invalid := faultsOf(err, ""); invalid != nil {
		failed.Problem = invalid[0].Message
	}
	var left *catalog.LeftBehind
	if errors.As(err, &left) {
		failed.URL = left.URL
	}
	return failed
}

func unlinkedOf(a autobuild.Account, provider autobuild.Provider, d catalog.Dropped) unlinkedPage {
	content := unlinkedPage{
		Account: a.Name,
		Kind:    a.Kind,
		WebURL:  provider.WebURL,
		OAuth:   a.Kind == autobuild.AccountOAuth,
		Removed: d.Removed,
	}
	for repository, err := range d.Failed {
		content.Failed = append(content.Failed, failedOf(repository, err))
	}
	sort.Slice(
		content.Failed,
		func(i, j int) bool { return content.Failed[i].Repository < content.Failed[j].Repository },
	)
	return content
}

// tokenPage is the form for an access token of a workspace, project or repository.
type tokenPage struct {
	Provider                                   autobuild.Provider
	Kinds                                      []option
	Kind, Name, Workspace, Repository, Expires string
}

// addToken shows the form of an access token. On POST it checks the token at Bitbucket and adds it.
func (p *Pages) addToken(c *gin.Context) error {
	provider, err := p.Store.Provider(c.Request.Context(), c.Param("id"))
	if err != nil {
		return fmt.Errorf("provider %q: %w", c.Param("id"), err)
	}
	content := tokenPage{Provider: provider, Kind: string(autobuild.AccountRepositoryToken)}
	if c.Request.Method == http.MethodGet {
		return p.showToken(c, http.StatusOK, content, nil)
	}
	get := func(name string) string { return strings.TrimSpace(c.PostForm(name)) }
	content.Kind = get("kind")
	content.Name = get("name")
	content.Workspace = get("workspace")
	content.Repository = get("repository")
	content.Expires = get("expires")
	t, invalid := content.token(get("token"))
	if invalid == nil {
		_, err = p.Accounts.AddToken(c.Request.Context(), t)
		invalid = faultsOf(err, "token")
	}
	if invalid != nil {
		return p.showToken(c, http.StatusUnprocessableEntity, content, invalid)
	}
	if err != nil {
		return fmt.Errorf("add access token %s: %w", content.Name, err)
	}
	return redirectDone(c, "/settings/providers", "linked")
}

func (p *Pages) showToken(c *gin.Context, status int, content tokenPage, invalid faults) error {
	for _, k := range []autobuild.AccountKind{
		autobuild.AccountRepositoryToken, autobuild.AccountProjectToken, autobuild.AccountWorkspaceToken,
	} {
		content.Kinds = append(content.Kinds, option{string(k), sentenceCase(accountKind(k))})
	}
	return p.show(c, status, "token", frame{
		Title:   "Add an access token",
		Nav:     "settings",
		Crumbs:  []crumb{{"Source providers", "/settings/providers"}},
		Faults:  invalid,
		Content: content,
	})
}

func (t tokenPage) token(value string) (accounts.Token, faults) {
	var invalid faults
	if t.Name == "" {
		invalid.add("name", "enter a name for the token")
	}
	if value == "" {
		invalid.add("token", "enter the token")
	}
	if t.Kind == string(autobuild.AccountRepositoryToken) && !strings.Contains(t.Repository, "/") {
		invalid.add("repository", "write the repository as workspace/repository")
	}
	if t.Kind != string(autobuild.AccountRepositoryToken) && t.Workspace == "" {
		invalid.add("workspace", "enter the workspace of the token")
	}
	out := accounts.Token{
		ProviderID: t.Provider.ID,
		Kind:       autobuild.AccountKind(t.Kind),
		Name:       t.Name,
		Workspace:  t.Workspace,
		Repository: t.Repository,
		Token:      secret.New(value),
	}
	if t.Expires != "" {
		day, err := time.Parse(time.DateOnly, t.Expires)
		if err != nil {
			invalid.add("expires", "write the date as 2027-01-31, or leave it empty")
		}
		out.Expires = day
	}
	return out, invalid
}

func sentenceCase(text string) string { return strings.TrimSuffix(sentence(text), ".") }
