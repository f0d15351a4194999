package crashtest

import (
	"context"
	"net/http"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// F1: a gateway that dies before or after any commit of its setup leaves nothing that a person
// cannot do again, and nothing doubled.
func TestF1EveryCommitOfTheSetup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o localenv.Options) {
		s := demotest.NewSentence(t)
		o.Environment = append(o.Environment, s.Environment())
		h := demotest.Open(t, o)
		for _, c := range []struct {
			commits []string
			die     func(h *demotest.Env, mortal func(act func() error))
		}{
			{[]string{"save OAuth flow", "take OAuth flow", "save account"}, dieLinking},
			{[]string{"adopt refs", "save hook", "save automated build"}, dieAutomating},
			{[]string{"update tokens"}, dieRefreshing},
			{[]string{"replace hook secret", "confirm hook secret"}, dieRotating},
			{[]string{"delete automated build", "delete hook"}, dieDeleting},
		} {
			for _, what := range c.commits {
				for _, when := range []string{demotest.Before, demotest.After} {
					t.Run(when+" "+what, func(t *testing.T) {
						h := h.For(t)
						c.die(h, func(act func() error) { dieDuring(h, s, when, what, act) })
					})
				}
			}
		}
	})
}

// dieDuring has the gateway die in the middle of an act, whose own outcome says nothing, and
// starts it again.
func dieDuring(h *demotest.Env, s demotest.Sentence, when, what string, act func() error) {
	h.T.Helper()
	h.Must(s.Pass(when, what))
	if err := act(); err != nil {
		h.T.Logf("the person saw: %.200v", err)
	}
	h.Must(h.Gateway.Died(h.Context))
	h.Must(h.Gateway.Start(h.Context))
}

// dieLinking: the account is linked again, and is one.
func dieLinking(h *demotest.Env, mortal func(func() error)) {
	mortal(func() error { return h.LinkAccount(h.Context, h.Browser) })
	h.Must(h.LinkAccount(h.Context, h.Browser))
	all, err := accounts(h)
	if err != nil || len(all) != 1 || all[0].State != autobuild.AccountLinked {
		h.T.Errorf("accounts %+v, error %v; want one, linked", all, err)
	}
}

// dieAutomating: whether the automated build was saved can be seen, and made up for; its
// webhook is one, and works.
func dieAutomating(h *demotest.Env, mortal func(func() error)) {
	p := h.Repository(h.Dockerfile("x"))
	mortal(func() error { return p.Automate(h.Context, h.Browser, demotest.MainToLatest()) })
	if !automated(h, p) {
		h.Must(p.Automate(h.Context, h.Browser, demotest.MainToLatest()))
	}
	h.Until("it has one webhook", func() (bool, error) { return len(p.Repository.Hooks()) == 1, nil })
	p.Commit("After all", h.Dockerfile("after all"))
	p.Push("main")
	p.Holds("latest", p.End(1, autobuild.Succeeded), "after all")
	p.All(1)
}

// dieRefreshing: the tokens that Bitbucket has given out and nobody stored are not missed.
func dieRefreshing(h *demotest.Env, mortal func(func() error)) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	p.Commit("With new tokens", h.Dockerfile("with new tokens"))
	mortal(func() error {
		h.Bitbucket.ExpireTokens() // not before: a poll would refresh them
		p.Push("main")
		return nil
	})
	p.Holds("latest", p.End(1, autobuild.Succeeded), "with new tokens")
	p.All(1)
	if all, err := accounts(h); err != nil || len(all) != 1 || all[0].State != autobuild.AccountLinked {
		h.T.Errorf("accounts %+v, error %v; want one, linked", all, err)
	}
}

// dieRotating: Bitbucket gets the stored secret, if not before then at the next start, and its
// deliveries are accepted.
func dieRotating(h *demotest.Env, mortal func(func() error)) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	page, err := h.Browser.Path()
	h.Must(err)
	mortal(func() error {
		if err := h.Browser.Visit(h.Context, page+"/webhook/rotate"); err != nil {
			return err
		}
		return h.Browser.Submit(h.Context, page+"/webhook/rotate", nil)
	})
	h.Until("Bitbucket has the stored secret", func() (bool, error) { return hasStoredSecret(h, p) })
	p.Commit("With a new secret", h.Dockerfile("with a new secret"))
	p.Push("main")
	p.Holds("latest", p.End(1, autobuild.Succeeded), "with a new secret")
	p.All(1)
	for _, d := range h.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID) {
		if got := d.Attempts[0].Status; got != http.StatusAccepted {
			h.T.Errorf("delivery %s: got status %d, want %d", d.RequestUUID, got, http.StatusAccepted)
		}
	}
}

// hasStoredSecret reports whether Bitbucket signs the project's deliveries with the stored secret.
func hasStoredSecret(h *demotest.Env, p *demotest.Project) (bool, error) {
	s, err := h.Gateway.Store(h.Context)
	if err != nil {
		return false, err
	}
	defer s.Close()
	all, err := s.Hooks(h.Context)
	if err != nil {
		return false, err
	}
	for _, hook := range all {
		if hook.Repository.ID != p.Repository.UUID || hook.SecretPending() {
			continue
		}
		body := []byte("{}")
		header := p.Repository.DeliveryHeader(p.Repository.Hooks()[0].URL, "repo:push", body)
		return webhook.Verify(body, header, hook.Secret) == nil, nil
	}
	return false, nil
}

// dieDeleting: the last automated build of a repository takes its webhook along, whatever dies
// between.
func dieDeleting(h *demotest.Env, mortal func(func() error)) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	page, err := h.Browser.Path()
	h.Must(err)
	remove := func() error {
		if err := h.Browser.Visit(h.Context, page+"/delete"); err != nil {
			return err
		}
		return h.Browser.Submit(h.Context, page+"/delete", map[string][]string{"name": {p.Repository.FullName()}})
	}
	mortal(remove)
	if automated(h, p) {
		h.Must(remove())
	}
	h.Until("its webhook is gone", func() (bool, error) { return len(p.Repository.Hooks()) == 0, nil })
}

func accounts(h *demotest.Env) ([]autobuild.Account, error) {
	s, err := h.Gateway.Store(h.Context)
	h.Must(err)
	defer s.Close()
	return s.Accounts(h.Context)
}

func automated(h *demotest.Env, p *demotest.Project) bool {
	h.T.Helper()
	s, err := h.Gateway.Store(h.Context)
	h.Must(err)
	defer s.Close()
	all, err := s.AutomatedBuilds(h.Context)
	h.Must(err)
	for _, a := range all {
		if a.Repository.ID == p.Repository.UUID {
			return true
		}
	}
	return false
}

// F1: a first administrator whose gateway dies during the sign-in signs in all the same.
func TestF1EveryCommitOfTheFirstSignIn(t *testing.T) {
	demotest.NeedMachine(t)
	t.Parallel()
	for _, what := range []string{"take the first administrator's token", "create session"} {
		for _, when := range []string{demotest.Before, demotest.After} {
			t.Run(when+" "+what, func(t *testing.T) {
				s := demotest.NewSentence(t)
				ctx, cancel := context.WithTimeout(t.Context(), demotest.Patience)
				defer cancel()
				w, err := localenv.Start(ctx, localenv.Options{Child: true, Environment: []string{s.Environment()}})
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				h := &demotest.Env{Env: w, T: t, Context: ctx}
				dieDuring(h, s, when, what, func() error { _, err := h.SignInAndLink(h.Context); return err })
				_, err = h.SignInAndLink(h.Context)
				h.Must(err)
			})
		}
	}
}
