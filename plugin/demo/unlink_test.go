package demo_test

import (
	"net/url"
	"os"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// unlink: with the account go its tokens and the webhooks that were added by it; linking it
// again makes its automated builds work again.
func unlink(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !hooks[0].Active || !hooks[0].SecretSet {
		env.T.Fatalf("webhooks %+v, want one, active and signed", hooks)
	}
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	accounts, err := s.Accounts(env.Context)
	env.Must(err)
	if len(accounts) != 1 {
		env.T.Fatalf("%d accounts are linked, want 1", len(accounts))
	}
	env.Must(env.Unlink(env.Context, env.Browser, accounts[0].ID))
	if hooks := p.Repository.Hooks(); len(hooks) != 0 {
		env.T.Errorf("webhooks stay: %+v", hooks)
	}
	left, err := s.Account(env.Context, accounts[0].ID)
	if err != nil || left.State != autobuild.AccountBroken || !left.AccessToken.IsZero() ||
		!left.RefreshToken.IsZero() {
		env.T.Errorf("the account is %s (%v), want it broken and its tokens forgotten", left.State, err)
	}
	env.Must(env.LinkAccount(env.Context, env.Browser))
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		env.T.Errorf("webhooks %+v after linking again, want the one", hooks)
	}
	p.Commit("Heard again", env.Dockerfile("heard again"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "heard again")
}

// twoOfOneRepository: two automated builds of a repository share its webhook, and the second
// to be deleted takes it along (H3, H5).
func twoOfOneRepository(env *demotest.Env) {
	p := env.Repository(env.Dockerfile("x"))
	hook := ""
	var pages []string
	for _, image := range []string{p.Image, p.Image + "-two"} {
		p.Image = image
		env.Must(p.Automate(env.Context, env.Browser, demotest.MainRule()))
		page, err := env.Browser.Path()
		env.Must(err)
		pages = append(pages, page)
		hooks := p.Repository.Hooks()
		if len(hooks) != 1 || hook != "" && hooks[0].UUID != hook {
			env.T.Fatalf("webhooks %+v after %d automated builds", hooks, len(pages))
		}
		hook = hooks[0].UUID
	}
	for i, page := range pages {
		env.Must(env.Browser.Visit(env.Context, page+"/delete"))
		env.Must(env.Browser.Submit(env.Context, page+"/delete", url.Values{"name": {p.Repository.FullName()}}))
		if left, want := len(p.Repository.Hooks()), 1-i; left != want {
			env.T.Errorf("%d webhooks after %d of 2 automated builds were deleted, want %d", left, i+1, want)
		}
	}
}

// revoked: a link that ended at Bitbucket is shown as broken, and what was pushed waits and says
// for what. Unlinking then lists the webhook that stays, with what to do by hand; linking
// again goes on with what waited (H3, H8).
func revoked(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	hook := hookOf(env, p)
	env.Bitbucket.RevokeRefreshTokens(env.Alice)
	env.Bitbucket.ExpireTokens()
	p.Commit("Meanwhile", env.Dockerfile("meanwhile"))
	p.Push("main")
	env.WaitUntil("the delivery says what it waits for", func() (bool, error) {
		d := planned(env, p, 1, autobuild.DeliveryReceived)[0]
		return strings.Contains(d.Reason, "link it again"), nil
	})
	env.Must(env.Browser.Visit(env.Context, "/settings/providers"))
	if !env.Browser.Contains("Broken: Bitbucket no longer accepts the link of alice") {
		env.T.Errorf("the link is not shown as broken: %s", env.Browser.Text())
	}
	env.Must(env.Unlink(env.Context, env.Browser, hook.AccountID))
	for _, said := range []string{"could not be removed", p.Repository.FullName(), hook.ID, "in the repository’s settings, under Webhooks"} {
		if !env.Browser.Contains(said) {
			env.T.Errorf("the page does not say %q: %s", said, env.Browser.Text())
		}
	}
	if left := len(p.Repository.Hooks()); left != 1 {
		env.T.Errorf("%d webhooks at Bitbucket, want the one that could not be removed", left)
	}
	env.Must(env.LinkAccount(env.Context, env.Browser))
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		env.T.Errorf("webhooks %+v after linking again, want the one", hooks)
	}
	if state := hookOf(env, p).State; state != autobuild.HookActive {
		env.T.Errorf("the webhook is %s after linking again", state)
	}
	if os.Getenv("SLIPWAY_TRUST") == "1" { // what waits for people is looked at once a minute
		p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "meanwhile")
	}
}
