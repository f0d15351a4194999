package browsertest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/browsertest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// A way is what one person does, from an empty installation on.
type way struct {
	*browsertest.Browser
	env   *demotest.Env
	gates *gates
	git   *localenv.Checkout
}

// TestWholeWay goes it in a real browser: the first administrator signs in, sets up, links
// an account, makes an automated build, pushes, follows the log to the final status,
// cancels, retries, unlinks and links again. Each page on the way is looked at in every
// width and theme.
func TestWholeWay(t *testing.T) {
	demotest.RequireTools(t)
	b := browsertest.Open(t)
	// The OAuth consumer is what the setup page asks for.
	env := demotest.Start(t, localenv.Options{Environment: []string{
		"SLIPWAY_BUILDER_NETWORK=host",
		"SLIPWAY_CONCURRENCY=1",
		"SLIPWAY_POLL_INTERVAL=1h",
		"SLIPWAY_BITBUCKET_CLIENT_ID=",
		"SLIPWAY_BITBUCKET_CLIENT_SECRET=",
	}})
	w := &way{Browser: b, env: env, gates: newGates(env)}
	w.seed()
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"sign in", w.signIn}, {"set up", w.setUp}, {"link", w.link}, {"automate", w.automate},
		{"push and follow", w.pushAndFollow}, {"cancel", w.cancel}, {"retry", w.retry}, {"fail and release", w.failAndRelease},
		{"look around", w.lookAround}, {"unlink", w.unlink}, {"link again", w.linkAgain}, {"sign out", w.signOut},
	} {
		begin := time.Now()
		w.env = env.For(t) // with time of its own
		step.do()
		t.Logf("%s: %.1f s", step.name, time.Since(begin).Seconds())
	}
}

// seed makes the branch that was there before anything was automated.
func (w *way) seed() {
	var err error
	w.git, err = w.env.Checkout(w.env.Context)
	w.env.Must(err)
	w.push("Add a Dockerfile", w.env.Dockerfile("hello"))
}

// push commits files to main and pushes it.
func (w *way) push(message string, files map[string]string, further ...string) (commit string) {
	w.env.T.Helper()
	commit, err := w.git.Commit(w.env.Context, message, files)
	w.env.Must(err)
	for _, tag := range further {
		_, err := w.git.Git(w.env.Context, "tag", tag)
		w.env.Must(err)
	}
	_, err = w.git.Push(w.env.Context, append([]string{"main"}, further...)...)
	w.env.Must(err)
	return commit
}

// status checks the one status that Bitbucket has of a build's commit.
func (w *way) status(number int64, state autobuild.State, want string) {
	w.env.T.Helper()
	b, err := w.env.Build(w.env.Context, number)
	w.env.Must(err)
	if b.State != state {
		w.env.T.Errorf("build %d is %s (%s: %s), want %s", number, b.State, b.Reason, b.Detail, state)
		return
	}
	got, err := w.env.WaitStatus(w.env.Context, b)
	w.env.Must(err)
	if got.State != want || got.URL != fmt.Sprintf("%s/builds/%d", w.env.Gateway.URL, number) {
		w.env.T.Errorf("the commit's status is %+v, want %s and the build's address", got, want)
	}
}

func (w *way) signIn() {
	w.Visit(w.env.Gateway.URL)
	w.Look("01-sign-in")
	w.Type("One-time token", "not the token")
	w.Go("Sign in with the token")
	w.Reads("mistyped, used already")
	w.Complaints() // of the status 410
	w.Look("02-sign-in-refused")
	token, err := w.env.Gateway.FirstToken()
	w.env.Must(err)
	w.Type("One-time token", token)
	w.Go("Sign in with the token")
}

func (w *way) setUp() {
	w.Reads("No automated builds yet")
	w.Go("Set up")
	w.Reads("Create an OAuth consumer at Bitbucket")
	w.Reads(w.env.Gateway.URL + "/oauth/bitbucket/callback")
	w.Look("03-setup")
	w.Type("Key", w.env.ClientID)
	w.Type("Secret", w.env.Client.Reveal())
	w.Go("Save")
	w.Reads("A secret is stored")
}

func (w *way) link() {
	w.Go("Settings")
	w.Reads("No account is linked")
	w.Look("04-source-providers-none")
	w.Go("Link account")
	w.Type("Username", w.env.Alice.Name)
	w.Type("Password", w.env.Password.Reveal())
	w.Look("05-bitbucket-log-in")
	w.Go("Log in")
	w.Reads("is requesting access")
	w.Look("06-bitbucket-grant")
	w.Go("Grant access")
	w.Reads("The account is linked.")
	w.Look("07-source-providers")
}

func (w *way) automate() {
	w.Go("Automated builds")
	w.Look("08-automated-builds-none")
	w.Go("Create automated build")
	w.Look("09-new-workspace")
	w.Go("acme")
	w.Look("10-new-repository")
	w.Go("acme/app private")
	w.Go("Add rule")
	w.Look("11-new-rules")
	w.Type("Image", "https://not an image")
	w.tagRule()
	w.Go("Save")
	w.Reads("One thing needs mending")
	w.Complaints() // of the status 422
	w.Look("12-new-refused")
	w.Type("Image", w.env.Image())
	w.Go("Save")
	w.Reads("The automated build is saved.")
	if hooks := w.env.App.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		w.env.T.Errorf("webhooks %+v, want one that is active", hooks)
	}
	w.Look("13-automated-build-new")
}

// tagRule types the second rule: a version's tags.
func (w *way) tagRule() {
	const second = "Build rule 2"
	w.TypeIn(second, "Source type", "Tag")
	w.TypeIn(second, "Source", `/^v([0-9]+)\.([0-9]+)$/`)
	w.TypeIn(second, "Tags", `{\1}.{\2},{\1}`)
}

func (w *way) pushAndFollow() {
	w.Go("Automated builds")
	stayed := w.Stay()
	w.push("Greet in capitals", w.env.Dockerfile(
		"hello from main",
		w.gates.Wait(
			"toolchain",
		),
		`RUN for part in lexer parser linker; do echo "compiling the $part"; done`,
		w.gates.Wait("licences"),
	))
	w.Until("the list shows the build at work", "!!document.querySelector('#automated-list .state.running')")
	stayed()
	w.Look("14-automated-builds-running")
	w.Go("1")
	w.Until("it waits for its tools", "document.querySelector('.log-body').innerText.includes('/toolchain')")
	stayed = w.Stay()
	if w.Contains("compiling the lexer") {
		w.env.T.Error("the log is ahead of its build")
	}
	w.gates.Open("toolchain")
	w.Reads("compiling the linker")
	stayed()
	w.Look("15-build-live")
	w.gates.Open("licences")
	w.Until("the page says that it succeeded", "!!document.querySelector('h1 .state.succeeded')")
	w.Until("the page says that it was reported", "!!document.querySelector('.stations li:last-child.done')")
	w.Reads("docker pull " + w.env.Image() + ":latest")
	stayed()
	w.status(1, autobuild.Succeeded, "SUCCESSFUL")
	w.Look("16-build-succeeded")
	w.Go("Deliveries")
	w.Go("repo:push")
	w.Reads("signature valid")
	w.Look("17-delivery")
}

func (w *way) cancel() {
	w.push("Fetch what takes long", w.env.Dockerfile("hello, later", w.gates.Wait("slow")))
	w.Go("Builds")
	w.Until("the list shows the build at work", "!!document.querySelector('#builds-list .state.running')")
	w.Go("Build 2")
	w.Until("the log shows what it waits for", "document.querySelector('.log-body').innerText.includes('/slow')")
	w.Go("Cancel build")
	w.Reads("The build is cancelled.")
	w.Until("the page says so", "!!document.querySelector('h1 .state.cancelled')")
	w.status(2, autobuild.Cancelled, "STOPPED")
	w.Look("18-build-cancelled")
}

// retry: the page of a build that waits for its next attempt shows that attempt's log when it
// comes, without being loaded again.
func (w *way) retry() {
	_, err := w.git.Commit(w.env.Context, "Hold the one place", w.env.Dockerfile("hello, held", w.gates.Wait("place")))
	w.env.Must(err)
	_, err = w.git.Git(w.env.Context, "tag", "v0.9")
	w.env.Must(err)
	_, err = w.git.Push(w.env.Context, "v0.9") // of main, it would supersede the retry
	w.env.Must(err)
	_, err = w.env.WaitBuilds(
		w.env.Context,
		3,
		func(all []autobuild.Build) bool { return all[0].State == autobuild.Running },
	)
	w.env.Must(err)
	w.Go("Retry")
	w.Reads("The build is queued again.")
	w.Until("the page says that it waits", "!!document.querySelector('h1 .state.queued')")
	stayed := w.Stay()
	w.gates.Open("slow")
	w.gates.Open("place")
	w.Reads("Slipway build 2, attempt 2")
	w.Until("the page says that it succeeded", "!!document.querySelector('h1 .state.succeeded')")
	w.Reads("Log of attempt 2")
	if w.Contains("The build is queued again.") {
		w.env.T.Error("the page of a build that succeeded still says that it is queued again")
	}
	stayed()
	w.status(2, autobuild.Succeeded, "SUCCESSFUL")
	w.Click("2 attempts")
	w.Until("the attempts are unfolded", "document.querySelector('.attempts').open")
	w.Look("19-build-retried")
}

func (w *way) failAndRelease() {
	w.push("Break the build", w.env.Dockerfile("hello", `RUN echo "parser.c:12: expected ; before }" && exit 3`), "v1.2")
	w.Go("Builds")
	w.Until("both builds have ended", "document.querySelectorAll('#builds-list .state.failed').length === 2")
	w.Look("20-builds")
	w.Go("Build 5")
	w.Until(
		"the log shows why",
		"(() => { const last = [...document.querySelectorAll('.log-body .line')].findLast((l) => l.innerText.includes('expected ; before }')); const box = document.querySelector('.log-body').getBoundingClientRect(); return last.getBoundingClientRect().top > box.top && last.getBoundingClientRect().bottom < box.bottom; })()",
	)
	w.Look("21-build-failed")
	w.push("Mend the build", w.env.Dockerfile("hello again"), "v1.3")
	w.Go("Automated builds")
	w.Until("the list shows a green build", "!!document.querySelector('#automated-list .state.succeeded')")
	w.Look("22-automated-builds")
	w.Go("acme/app")
	w.Click("Start a build by hand")
	w.Until("no build is at work", "!document.querySelector('#builds-list .state.running, #builds-list .state.queued')")
	w.Look("23-automated-build")
}

// lookAround visits the pages that nothing of the above leads through.
func (w *way) lookAround() {
	w.Go("Edit")
	w.Look("24-edit")
	w.Go("Cancel")
	w.Go("Delete")
	w.Look("25-delete")
	w.Go("Keep it")
	w.Go("Deliveries")
	w.Look("26-deliveries")
	w.Go("Settings")
	w.Go("Add access token")
	w.Look("27-access-token")
	for name, page := range map[string]string{"Registries": "28-registries", "Engines": "29-engines", "People": "30-people"} {
		w.Visit(w.env.Gateway.URL + "/settings/providers")
		w.Go(name)
		w.Look(page)
	}
	w.Click("alice")
	w.Reads("Role: admin")
	w.Look("31-menu")
	w.Key(kb.Escape)
	w.Until("the menu is closed", "!document.querySelector('details.menu').open")
	w.Visit(w.env.Gateway.URL + "/builds/4711")
	w.Complaints() // of the status 404
	w.Look("32-not-found")
}

func (w *way) unlink() {
	w.Go("Settings")
	w.Go("Unlink alice")
	w.Look("33-unlink")
	w.Type("Type alice to confirm", "bob")
	w.Go("Unlink account")
	w.Reads("needs mending")
	w.Complaints() // of the status 422
	w.Type("Type alice to confirm", "alice")
	w.Go("Unlink account")
	w.Reads("alice is unlinked")
	w.Reads("1 webhook was removed")
	w.Reads("Personal settings → App authorizations → Revoke")
	if hooks := w.env.App.Hooks(); len(hooks) != 0 {
		w.env.T.Errorf("webhooks stay: %+v", hooks)
	}
	w.Look("34-unlinked")
	w.Go("Settings")
	w.Until("the plug is out", "!!document.querySelector('.provider .plug.off')")
	w.Look("35-source-providers-unplugged")
	w.Go("Automated builds")
	w.Look("36-automated-builds-unplugged")
}

func (w *way) linkAgain() {
	w.Go("Settings")
	w.Go("Link account") // logged in at Bitbucket, and granted, it comes back at once
	w.Reads("The account is linked.")
	w.Until("the plug is in", "!!document.querySelector('.provider .plug:not(.off)')")
	if hooks := w.env.App.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		w.env.T.Errorf("webhooks %+v after linking again, want the one", hooks)
	}
	if path := w.Path(); !strings.HasPrefix(path, "/settings/providers") {
		w.env.T.Errorf("linking leads to %s, want back to the source providers", path)
	}
}

func (w *way) signOut() {
	w.Click("alice")
	w.Go("Sign out")
	w.Reads("You are signed out.")
	w.Visit(w.env.Gateway.URL + "/builds/1")
	w.Complaints() // of the status 401
	w.Until("the log is out of sight", "!document.querySelector('#log')")
	w.Look("37-signed-out")
}
