package demo_test

import (
	"net/url"
	"os"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// unlink: unlinking an account removes its tokens and its webhooks. After it is linked again, its
// automated builds work again.
func unlink(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	checkActiveHook(env, p)
	if hooks := p.Repository.Hooks(); !hooks[0].SecretSet {
		env.T.Fatalf("webhook: got %+v, want it with a secret", hooks[0])
	}
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	accounts, err := s.Accounts(env.Context)
	env.Must(err)
	if len(accounts) != 1 {
		env.T.Fatalf("linked accounts: got %d, want 1", len(accounts))
	}
	env.Must(env.Unlink(env.Context, env.Browser, accounts[0].ID))
	if hooks := p.Repository.Hooks(); len(hooks) != 0 {
		env.T.Errorf("webhooks: got %+v, want none", hooks)
	}
	left, err := s.Account(env.Context, accounts[0].ID)
	env.Must(err)
	if left.State != autobuild.AccountBroken {
		env.T.Errorf("account state: got %s, want %s", left.State, autobuild.AccountBroken)
	}
	if !left.AccessToken.IsZero() {
		env.T.Error("access token: got one, want none")
	}
	if !left.RefreshToken.IsZero() {
		env.T.Error("refresh token: got one, want none")
	}
	env.Must(env.LinkAccount(env.Context, env.Browser))
	checkActiveHook(env, p)
	p.Commit("Received again", env.Dockerfile("received again"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "received again")
}

// checkActiveHook checks that a repository has one webhook, which is active.
func checkActiveHook(env *demotest.Env, p *demotest.Project) {
	env.T.Helper()
	hooks := p.Repository.Hooks()
	if len(hooks) != 1 {
		env.T.Fatalf("webhooks: got %+v, want one", hooks)
	}
	if !hooks[0].Active {
		env.T.Errorf("webhook: got %+v, want it active", hooks[0])
	}
}

// twoAutomatedBuilds: two automated builds of a repository share its webhook. When the second one is
// deleted, the webhook is removed (H3, H5).
func twoAutomatedBuilds(env *demotest.Env) {
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
		if len(hooks) != 1 {
			env.T.Fatalf("webhooks: got %+v after %d automated builds, want one", hooks, len(pages))
		}
		if hook != "" && hooks[0].UUID != hook {
			env.T.Fatalf("webhook: got %s, want %s again", hooks[0].UUID, hook)
		}
		hook = hooks[0].UUID
	}
	for i, page := range pages {
		env.Must(env.Browser.Visit(env.Context, page+"/delete"))
		env.Must(env.Browser.Submit(env.Context, page+"/delete", url.Values{"name": {p.Repository.FullName()}}))
		if left, want := len(p.Repository.Hooks()), 1-i; left != want {
			env.T.Errorf("webhooks: got %d after %d of 2 automated builds were deleted, want %d", left, i+1, want)
		}
	}
}

// revoked: an account whose access was revoked at Bitbucket is shown as broken. New deliveries wait and
// show the reason. Unlinking lists the webhook that could not be removed, and explains how to remove it.
// After the account is linked again, the deliveries continue (H3, H8).
func revoked(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	hook := hookOf(env, p)
	env.Bitbucket.RevokeRefreshTokens(env.Alice)
	env.Bitbucket.ExpireTokens()
	p.Commit("Meanwhile", env.Dockerfile("meanwhile"))
	p.Push("main")
	env.WaitUntil("the delivery shows the reason", func() (bool, error) {
		d := waitPlanned(env, p, 1, autobuild.DeliveryReceived)[0]
		return strings.Contains(d.Reason, "link it again"), nil
	})
	env.Must(env.Browser.Visit(env.Context, "/settings/providers"))
	if !env.Browser.Contains("Broken: Bitbucket no longer accepts the link of alice") {
		env.T.Errorf("account on the page: got %s, want it broken", env.Browser.Text())
	}
	env.Must(env.Unlink(env.Context, env.Browser, hook.AccountID))
	for _, text := range []string{
		"could not be removed", p.Repository.FullName(), hook.ID, "in the repository’s settings, under Webhooks",
	} {
		if !env.Browser.Contains(text) {
			env.T.Errorf("text %q: got the page %s, want the text in it", text, env.Browser.Text())
		}
	}
	if left := len(p.Repository.Hooks()); left != 1 {
		env.T.Errorf("webhooks at Bitbucket: got %d, want 1 that could not be removed", left)
	}
	env.Must(env.LinkAccount(env.Context, env.Browser))
	checkActiveHook(env, p)
	if state := hookOf(env, p).State; state != autobuild.HookActive {
		env.T.Errorf("state of the webhook: got %s after linking again, want active", state)
	}
	if os.Getenv("SLIPWAY_TRUST") == "1" { // such deliveries are retried once a minute
		p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "meanwhile")
	}
}
