package crashtest

import (
	"net/http"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/failpoint"
	"slipway/plugin/demo/localenv"
)

// F1: if the gateway crashes before or after any commit of its setup, a person can repeat each
// action, and nothing is created twice.
func TestF1EveryCommitOfTheSetup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o localenv.Options) {
		point := failpoint.New(t.TempDir())
		o.Environment = append(o.Environment, point.Environment())
		env := demotest.StartSignedIn(t, o)
		for _, s := range []struct {
			commits []string
			test    func(env *demotest.Env, crashDuring func(act func() error))
		}{
			{[]string{"save OAuth flow", "take OAuth flow", "save account"}, crashLinking},
			{[]string{"adopt refs", "save hook", "save automated build"}, crashAutomating},
			{[]string{"update tokens"}, crashRefreshing},
			{[]string{"replace hook secret", "confirm hook secret"}, crashRotating},
			{[]string{"delete automated build", "delete hook"}, crashDeleting},
		} {
			for _, c := range crashesOf(s.commits) {
				t.Run(c.String(), func(t *testing.T) {
					env := env.For(t)
					s.test(env, func(act func() error) { crashDuring(env, point, c, act) })
				})
			}
		}
	})
}

// crashDuring runs an action during which the gateway crashes, and restarts the gateway. The
// action may fail or succeed.
func crashDuring(env *demotest.Env, point failpoint.Point, c crash, act func() error) {
	env.T.Helper()
	env.Must(point.Enable(c.mode, c.operation))
	if err := act(); err != nil {
		env.T.Logf("the person saw: %.200v", err)
	}
	env.Must(env.Gateway.WaitEnded(env.Context))
	env.Must(env.Gateway.Start(env.Context))
}

// crashLinking: the person links the account again. It exists once.
func crashLinking(env *demotest.Env, crashDuring func(func() error)) {
	crashDuring(func() error { return env.LinkAccount(env.Context, env.Browser) })
	env.Must(env.LinkAccount(env.Context, env.Browser))
	checkOneLinkedAccount(env)
}

// crashAutomating: the person sees whether the automated build was saved, and creates it if not.
// It has one webhook, which works.
func crashAutomating(env *demotest.Env, crashDuring func(func() error)) {
	p := env.Repository(env.Dockerfile("x"))
	crashDuring(func() error { return p.Automate(env.Context, env.Browser, demotest.MainRule()) })
	if !isAutomated(env, p) {
		env.Must(p.Automate(env.Context, env.Browser, demotest.MainRule()))
	}
	env.WaitUntil("it has one webhook", func() (bool, error) { return len(p.Repository.Hooks()) == 1, nil })
	p.Commit("After all", env.Dockerfile("after all"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "after all")
	p.WaitAll(1)
}

// crashRefreshing: Bitbucket issues tokens that the gateway does not store. The account stays
// linked.
func crashRefreshing(env *demotest.Env, crashDuring func(func() error)) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("With new tokens", env.Dockerfile("with new tokens"))
	crashDuring(func() error {
		env.Bitbucket.ExpireTokens() // not earlier: a poll would refresh them
		p.Push("main")
		return nil
	})
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "with new tokens")
	p.WaitAll(1)
	checkOneLinkedAccount(env)
}

// crashRotating: Bitbucket gets the stored secret, at the latest when the gateway starts again,
// and the gateway accepts its deliveries.
func crashRotating(env *demotest.Env, crashDuring func(func() error)) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	page, err := env.Browser.Path()
	env.Must(err)
	crashDuring(func() error {
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

// crashDeleting: after the last automated build of a repository is deleted, its webhook is removed.
func crashDeleting(env *demotest.Env, crashDuring func(func() error)) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	page, err := env.Browser.Path()
	env.Must(err)
	remove := func() error {
		if err := env.Browser.Visit(env.Context, page+"/delete"); err != nil {
			return err
		}
		return env.Browser.Submit(env.Context, page+"/delete", map[string][]string{"name": {p.Repository.FullName()}})
	}
	crashDuring(remove)
	if isAutomated(env, p) {
		env.Must(remove())
	}
	env.WaitUntil("its webhook is removed", func() (bool, error) { return len(p.Repository.Hooks()) == 0, nil })
}

func checkOneLinkedAccount(env *demotest.Env) {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	all, err := s.Accounts(env.Context)
	env.Must(err)
	if len(all) != 1 || all[0].State != autobuild.AccountLinked {
		env.T.Errorf("accounts: got %+v, want one that is linked", all)
	}
}

func isAutomated(env *demotest.Env, p *demotest.Project) bool {
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

// F1: if the gateway crashes while the first administrator signs in, a second sign-in succeeds.
func TestF1EveryCommitOfTheFirstSignIn(t *testing.T) {
	demotest.RequireTools(t)
	t.Parallel()
	for _, c := range crashesOf([]string{"take the first administrator's token", "create session"}) {
		t.Run(c.String(), func(t *testing.T) {
			point := failpoint.New(t.TempDir())
			env := demotest.Start(t, localenv.Options{Child: true, Environment: []string{point.Environment()}})
			signIn := func() error { _, err := env.SignInAndLink(env.Context); return err }
			crashDuring(env, point, c, signIn)
			env.Must(signIn())
		})
	}
}
