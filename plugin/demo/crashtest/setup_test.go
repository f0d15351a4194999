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
		env := demotest.StartSignedIn(t, o)
		for _, c := range []struct {
			commits []string
			die     func(env *demotest.Env, mortal func(act func() error))
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
						env := env.For(t)
						c.die(env, func(act func() error) { dieDuring(env, s, when, what, act) })
					})
				}
			}
		}
	})
}

// dieDuring has the gateway die in the middle of an act, whose own outcome says nothing, and
// starts it again.
func dieDuring(env *demotest.Env, s demotest.Sentence, when, what string, act func() error) {
	env.T.Helper()
	env.Must(s.Pass(when, what))
	if err := act(); err != nil {
		env.T.Logf("the person saw: %.200v", err)
	}
	env.Must(env.Gateway.Died(env.Context))
	env.Must(env.Gateway.Start(env.Context))
}

// dieLinking: the account is linked again, and is one.
func dieLinking(env *demotest.Env, mortal func(func() error)) {
	mortal(func() error { return env.LinkAccount(env.Context, env.Browser) })
	env.Must(env.LinkAccount(env.Context, env.Browser))
	all, err := accounts(env)
	if err != nil || len(all) != 1 || all[0].State != autobuild.AccountLinked {
		env.T.Errorf("accounts %+v, error %v; want one, linked", all, err)
	}
}

// dieAutomating: whether the automated build was saved can be seen, and made up for; its
// webhook is one, and works.
func dieAutomating(env *demotest.Env, mortal func(func() error)) {
	p := env.Repository(env.Dockerfile("x"))
	mortal(func() error { return p.Automate(env.Context, env.Browser, demotest.MainRule()) })
	if !automated(env, p) {
		env.Must(p.Automate(env.Context, env.Browser, demotest.MainRule()))
	}
	env.WaitUntil("it has one webhook", func() (bool, error) { return len(p.Repository.Hooks()) == 1, nil })
	p.Commit("After all", env.Dockerfile("after all"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "after all")
	p.WaitAll(1)
}

// dieRefreshing: the tokens that Bitbucket has given out and nobody stored are not missed.
func dieRefreshing(env *demotest.Env, mortal func(func() error)) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("With new tokens", env.Dockerfile("with new tokens"))
	mortal(func() error {
		env.Bitbucket.ExpireTokens() // not before: a poll would refresh them
		p.Push("main")
		return nil
	})
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "with new tokens")
	p.WaitAll(1)
	if all, err := accounts(env); err != nil || len(all) != 1 || all[0].State != autobuild.AccountLinked {
		env.T.Errorf("accounts %+v, error %v; want one, linked", all, err)
	}
}

// dieRotating: Bitbucket gets the stored secret, if not before then at the next start, and its
// deliveries are accepted.
func dieRotating(env *demotest.Env, mortal func(func() error)) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	page, err := env.Browser.Path()
	env.Must(err)
	mortal(func() error {
		if err := env.Browser.Visit(env.Context, page+"/webhook/rotate"); err != nil {
			return err
		}
		return env.Browser.Submit(env.Context, page+"/webhook/rotate", nil)
	})
	env.WaitUntil("Bitbucket has the stored secret", func() (bool, error) { return hasStoredSecret(env, p) })
	p.Commit("With a new secret", env.Dockerfile("with a new secret"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "with a new secret")
	p.WaitAll(1)
	for _, d := range env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID) {
		if got := d.Attempts[0].Status; got != http.StatusAccepted {
			env.T.Errorf("delivery %s: got status %d, want %d", d.RequestUUID, got, http.StatusAccepted)
		}
	}
}

// hasStoredSecret reports whether Bitbucket signs the project's deliveries with the stored secret.
func hasStoredSecret(env *demotest.Env, p *demotest.Project) (bool, error) {
	s, err := env.Gateway.Store(env.Context)
	if err != nil {
		return false, err
	}
	defer s.Close()
	all, err := s.Hooks(env.Context)
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
func dieDeleting(env *demotest.Env, mortal func(func() error)) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	page, err := env.Browser.Path()
	env.Must(err)
	remove := func() error {
		if err := env.Browser.Visit(env.Context, page+"/delete"); err != nil {
			return err
		}
		return env.Browser.Submit(env.Context, page+"/delete", map[string][]string{"name": {p.Repository.FullName()}})
	}
	mortal(remove)
	if automated(env, p) {
		env.Must(remove())
	}
	env.WaitUntil("its webhook is gone", func() (bool, error) { return len(p.Repository.Hooks()) == 0, nil })
}

func accounts(env *demotest.Env) ([]autobuild.Account, error) {
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	return s.Accounts(env.Context)
}

func automated(env *demotest.Env, p *demotest.Project) bool {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	all, err := s.AutomatedBuilds(env.Context)
	env.Must(err)
	for _, a := range all {
		if a.Repository.ID == p.Repository.UUID {
			return true
		}
	}
	return false
}

// F1: a first administrator whose gateway dies during the sign-in signs in all the same.
func TestF1EveryCommitOfTheFirstSignIn(t *testing.T) {
	demotest.RequireTools(t)
	t.Parallel()
	for _, what := range []string{"take the first administrator's token", "create session"} {
		for _, when := range []string{demotest.Before, demotest.After} {
			t.Run(when+" "+what, func(t *testing.T) {
				s := demotest.NewSentence(t)
				ctx, cancel := context.WithTimeout(t.Context(), demotest.Timeout)
				defer cancel()
				w, err := localenv.Start(ctx, localenv.Options{Child: true, Environment: []string{s.Environment()}})
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				env := &demotest.Env{Env: w, T: t, Context: ctx}
				dieDuring(env, s, when, what, func() error { _, err := env.SignInAndLink(env.Context); return err })
				_, err = env.SignInAndLink(env.Context)
				env.Must(err)
			})
		}
	}
}
