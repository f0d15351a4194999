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
func unlink(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !hooks[0].Active || !hooks[0].SecretSet {
		h.T.Fatalf("webhooks %+v, want one, active and signed", hooks)
	}
	s, err := h.Gateway.Store(h.Context)
	h.Must(err)
	defer s.Close()
	accounts, err := s.Accounts(h.Context)
	h.Must(err)
	if len(accounts) != 1 {
		h.T.Fatalf("%d accounts are linked, want 1", len(accounts))
	}
	h.Must(h.Unlink(h.Context, h.Browser, accounts[0].ID))
	if hooks := p.Repository.Hooks(); len(hooks) != 0 {
		h.T.Errorf("webhooks stay: %+v", hooks)
	}
	left, err := s.Account(h.Context, accounts[0].ID)
	if err != nil || left.State != autobuild.AccountBroken || !left.AccessToken.IsZero() ||
		!left.RefreshToken.IsZero() {
		h.T.Errorf("the account is %s (%v), want it broken and its tokens forgotten", left.State, err)
	}
	h.Must(h.LinkAccount(h.Context, h.Browser))
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		h.T.Errorf("webhooks %+v after linking again, want the one", hooks)
	}
	p.Commit("Heard again", h.Dockerfile("heard again"))
	p.Push("main")
	p.Holds("latest", p.End(1, autobuild.Succeeded), "heard again")
}

// twoOfOneRepository: two automated builds of a repository share its webhook, and the second
// to be deleted takes it along (H3, H5).
func twoOfOneRepository(h *demotest.Env) {
	p := h.Repository(h.Dockerfile("x"))
	hook := ""
	var pages []string
	for _, image := range []string{p.Image, p.Image + "-two"} {
		p.Image = image
		h.Must(p.Automate(h.Context, h.Browser, demotest.MainToLatest()))
		page, err := h.Browser.Path()
		h.Must(err)
		pages = append(pages, page)
		hooks := p.Repository.Hooks()
		if len(hooks) != 1 || hook != "" && hooks[0].UUID != hook {
			h.T.Fatalf("webhooks %+v after %d automated builds", hooks, len(pages))
		}
		hook = hooks[0].UUID
	}
	for i, page := range pages {
		h.Must(h.Browser.Visit(h.Context, page+"/delete"))
		h.Must(h.Browser.Submit(h.Context, page+"/delete", url.Values{"name": {p.Repository.FullName()}}))
		if left, want := len(p.Repository.Hooks()), 1-i; left != want {
			h.T.Errorf("%d webhooks after %d of 2 automated builds were deleted, want %d", left, i+1, want)
		}
	}
}

// revoked: a link that ended at Bitbucket is shown as broken, and what was pushed waits and says
// for what. Unlinking then lists the webhook that stays, with what to do by hand; linking
// again goes on with what waited (H3, H8).
func revoked(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	hook := hookOf(h, p)
	h.Bitbucket.RevokeRefreshTokens(h.Alice)
	h.Bitbucket.ExpireTokens()
	p.Commit("Meanwhile", h.Dockerfile("meanwhile"))
	p.Push("main")
	h.Until("the delivery says what it waits for", func() (bool, error) {
		d := planned(h, p, 1, autobuild.DeliveryReceived)[0]
		return strings.Contains(d.Reason, "link it again"), nil
	})
	h.Must(h.Browser.Visit(h.Context, "/settings/providers"))
	if !h.Browser.Says("Broken: Bitbucket no longer accepts the link of alice") {
		h.T.Errorf("the link is not shown as broken: %s", h.Browser.Text())
	}
	h.Must(h.Unlink(h.Context, h.Browser, hook.AccountID))
	for _, said := range []string{"could not be removed", p.Repository.FullName(), hook.ID, "in the repository’s settings, under Webhooks"} {
		if !h.Browser.Says(said) {
			h.T.Errorf("the page does not say %q: %s", said, h.Browser.Text())
		}
	}
	if left := len(p.Repository.Hooks()); left != 1 {
		h.T.Errorf("%d webhooks at Bitbucket, want the one that could not be removed", left)
	}
	h.Must(h.LinkAccount(h.Context, h.Browser))
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		h.T.Errorf("webhooks %+v after linking again, want the one", hooks)
	}
	if state := hookOf(h, p).State; state != autobuild.HookActive {
		h.T.Errorf("the webhook is %s after linking again", state)
	}
	if os.Getenv("SLIPWAY_TRUST") == "1" { // what waits for people is looked at once a minute
		p.Holds("latest", p.End(1, autobuild.Succeeded), "meanwhile")
	}
}
