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

// A journey is a sequence of actions of one person, starting with an empty installation.
type journey struct {
	*browsertest.Browser
	env   *demotest.Env
	gates *gates
	git   *localenv.Checkout
}

// TestWholeJourney uses a real browser. The first administrator signs in, sets up, links an account,
// creates an automated build, pushes, follows the log to the final status, cancels, retries, unlinks
// and links again. Each page on the way is checked on every screen.
func TestWholeJourney(t *testing.T) {
	demotest.RequireTools(t)
	b := browsertest.Open(t)
	// The gateway starts without an OAuth consumer, so that the setup page asks for one.
	env := demotest.Start(t, localenv.Options{Environment: []string{
		"SLIPWAY_BUILDER_NETWORK=host",
		"SLIPWAY_CONCURRENCY=1",
		"SLIPWAY_POLL_INTERVAL=1h",
		"SLIPWAY_BITBUCKET_CLIENT_ID=",
		"SLIPWAY_BITBUCKET_CLIENT_SECRET=",
	}})
	j := &journey{Browser: b, env: env, gates: newGates(env)}
	j.seed()
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"sign in", j.signIn}, {"set up", j.setUp}, {"link", j.link}, {"automate", j.automate},
		{"push and follow", j.pushAndFollow}, {"cancel", j.cancel}, {"retry", j.retry},
		{"fail and release", j.failAndRelease},
		{"look around", j.lookAround}, {"unlink", j.unlink}, {"link again", j.linkAgain}, {"sign out", j.signOut},
	} {
		begin := time.Now()
		j.env = env.For(t) // with a timeout of its own
		step.do()
		t.Logf("%s: %.1f s", step.name, time.Since(begin).Seconds())
	}
}

// seed pushes the branch main, before any automated build exists.
func (j *journey) seed() {
	var err error
	j.git, err = j.env.Checkout(j.env.Context)
	j.env.Must(err)
	j.push("Add a Dockerfile", j.env.Dockerfile("hello"))
}

// push commits files to main and pushes main and new tags.
func (j *journey) push(message string, files map[string]string, tags ...string) (commit string) {
	j.env.T.Helper()
	commit, err := j.git.Commit(j.env.Context, message, files)
	j.env.Must(err)
	for _, tag := range tags {
		_, err := j.git.Git(j.env.Context, "tag", tag)
		j.env.Must(err)
	}
	_, err = j.git.Push(j.env.Context, append([]string{"main"}, tags...)...)
	j.env.Must(err)
	return commit
}

// status checks the state of a build and the status of its commit at Bitbucket.
func (j *journey) status(number int64, state autobuild.State, want string) {
	j.env.T.Helper()
	b, err := j.env.Build(j.env.Context, number)
	j.env.Must(err)
	if b.State != state {
		j.env.T.Errorf("build %d: got state %s (%s: %s), want %s", number, b.State, b.Reason, b.Detail, state)
		return
	}
	got, err := j.env.WaitStatus(j.env.Context, b)
	j.env.Must(err)
	if got.State != want {
		j.env.T.Errorf("build %d: got status %s, want %s", number, got.State, want)
	}
	if url := fmt.Sprintf("%s/builds/%d", j.env.Gateway.URL, number); got.URL != url {
		j.env.T.Errorf("build %d: got status URL %s, want %s", number, got.URL, url)
	}
}

func (j *journey) signIn() {
	j.Visit(j.env.Gateway.URL)
	j.CheckPage("01-sign-in")
	j.Type("One-time token", "not the token")
	j.Follow("Sign in with token")
	j.WaitText("wrong, already used")
	j.TakeConsoleErrors() // the response had status 410
	j.CheckPage("02-sign-in-refused")
	token, err := j.env.Gateway.FirstToken()
	j.env.Must(err)
	j.Type("One-time token", token)
	j.Follow("Sign in with token")
}

func (j *journey) setUp() {
	j.WaitText("No automated builds yet")
	j.Follow("Set up")
	j.WaitText("Create an OAuth consumer at Bitbucket")
	j.WaitText(j.env.Gateway.URL + "/oauth/bitbucket/callback")
	j.CheckPage("03-setup")
	j.Type("Key", j.env.ClientID)
	j.Type("Secret", j.env.Client.Reveal())
	j.Follow("Save")
	j.WaitText("Leave empty to keep the stored secret")
}

func (j *journey) link() {
	j.Follow("Settings")
	j.WaitText("No linked account yet")
	j.CheckPage("04-source-providers-none")
	j.Follow("Link account")
	j.Type("Username", j.env.Alice.Name)
	j.Type("Password", j.env.Password.Reveal())
	j.CheckPage("05-bitbucket-log-in")
	j.Follow("Log in")
	j.WaitText("is requesting access")
	j.CheckPage("06-bitbucket-grant")
	j.Follow("Grant access")
	j.WaitText("The account is linked.")
	j.CheckPage("07-source-providers")
}

func (j *journey) automate() {
	j.Follow("Automated builds")
	j.CheckPage("08-automated-builds-none")
	j.Follow("Create automated build")
	j.CheckPage("09-new-workspace")
	j.Follow("acme")
	j.CheckPage("10-new-repository")
	j.Follow("acme/app private")
	j.Follow("Add rule")
	j.CheckPage("11-new-rules")
	j.Type("Image", "https://not an image")
	j.tagRule()
	j.Follow("Save")
	j.WaitText("Please fix this error")
	j.TakeConsoleErrors() // the response had status 422
	j.CheckPage("12-new-refused")
	j.Type("Image", j.env.Image())
	j.Follow("Save")
	j.WaitText("The automated build is saved.")
	if hooks := j.env.App.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		j.env.T.Errorf("webhooks: got %+v, want one active webhook", hooks)
	}
	j.CheckPage("13-automated-build-new")
}

// tagRule fills in the second rule: a version tag to two image tags.
func (j *journey) tagRule() {
	const second = "Build rule 2"
	j.TypeIn(second, "Source type", "Tag")
	j.TypeIn(second, "Source", `/^v([0-9]+)\.([0-9]+)$/`)
	j.TypeIn(second, "Tags", `{\1}.{\2},{\1}`)
}

func (j *journey) pushAndFollow() {
	j.Follow("Automated builds")
	checkNoReload := j.ExpectNoReload()
	j.push("Greet in capitals", j.env.Dockerfile(
		"hello from main",
		j.gates.Wait("toolchain"),
		`RUN for part in lexer parser linker; do echo "compiling the $part"; done`,
		j.gates.Wait("licences"),
	))
	j.WaitUntil("the list shows a running build", "!!document.querySelector('#automated-list .state.running')")
	checkNoReload()
	j.CheckPage("14-automated-builds-running")
	j.Follow("1")
	j.WaitUntil("the log shows the first gate", "document.querySelector('.log-body').innerText.includes('/toolchain')")
	checkNoReload = j.ExpectNoReload()
	if j.Contains("compiling the lexer") {
		j.env.T.Error("log: got a step that has not run yet, want only finished steps")
	}
	j.gates.Open("toolchain")
	j.WaitText("compiling the linker")
	checkNoReload()
	j.CheckPage("15-build-live")
	j.gates.Open("licences")
	j.WaitUntil("the page shows succeeded", "!!document.querySelector('h1 .state.succeeded')")
	j.WaitUntil("the page shows the reported status", "!!document.querySelector('.timeline li:last-child.done')")
	j.WaitText("docker pull " + j.env.Image() + ":latest")
	checkNoReload()
	j.status(1, autobuild.Succeeded, "SUCCESSFUL")
	j.CheckPage("16-build-succeeded")
	j.Follow("Deliveries")
	j.Follow("repo:push")
	j.WaitText("signature valid")
	j.CheckPage("17-delivery")
}

func (j *journey) cancel() {
	j.push("Fetch what takes long", j.env.Dockerfile("hello, later", j.gates.Wait("slow")))
	j.Follow("Builds")
	j.WaitUntil("the list shows a running build", "!!document.querySelector('#builds-list .state.running')")
	j.Follow("Build 2")
	j.WaitUntil("the log shows the gate", "document.querySelector('.log-body').innerText.includes('/slow')")
	j.Follow("Cancel build")
	j.WaitText("The build is cancelled.")
	j.WaitUntil("the page shows cancelled", "!!document.querySelector('h1 .state.cancelled')")
	j.status(2, autobuild.Cancelled, "STOPPED")
	j.CheckPage("18-build-cancelled")
}

// retry: the page of a build that waits for its next attempt shows the log of that attempt as soon as
// it starts, without a reload.
func (j *journey) retry() {
	_, err := j.git.Commit(j.env.Context, "Hold the one place", j.env.Dockerfile("hello, held", j.gates.Wait("place")))
	j.env.Must(err)
	_, err = j.git.Git(j.env.Context, "tag", "v0.9")
	j.env.Must(err)
	_, err = j.git.Push(j.env.Context, "v0.9") // a push to main would supersede the retry
	j.env.Must(err)
	_, err = j.env.WaitBuilds(j.env.Context, 3, func(all []autobuild.Build) bool {
		return all[0].State == autobuild.Running
	})
	j.env.Must(err)
	j.Follow("Retry")
	j.WaitText("The build is queued again.")
	j.WaitUntil("the page shows queued", "!!document.querySelector('h1 .state.queued')")
	checkNoReload := j.ExpectNoReload()
	j.gates.Open("slow")
	j.gates.Open("place")
	j.WaitText("Slipway build 2, attempt 2")
	j.WaitUntil("the page shows succeeded", "!!document.querySelector('h1 .state.succeeded')")
	j.WaitText("Log of attempt 2")
	if j.Contains("The build is queued again.") {
		j.env.T.Error("page of a successful build: got a queued build, want a finished one")
	}
	checkNoReload()
	j.status(2, autobuild.Succeeded, "SUCCESSFUL")
	j.Click("2 attempts")
	j.WaitUntil("the list of attempts is open", "document.querySelector('.attempts').open")
	j.CheckPage("19-build-retried")
}

func (j *journey) failAndRelease() {
	j.push(
		"Break the build",
		j.env.Dockerfile("hello", `RUN echo "parser.c:12: expected ; before }" && exit 3`),
		"v1.2",
	)
	j.Follow("Builds")
	j.WaitUntil("both builds have ended", "document.querySelectorAll('#builds-list .state.failed').length === 2")
	j.CheckPage("20-builds")
	j.Follow("Build 5")
	j.WaitUntil(
		"the log shows the failing line",
		`(() => {
			const lines = [...document.querySelectorAll('.log-body .line')];
			const last = lines.findLast((l) => l.innerText.includes('expected ; before }')).getBoundingClientRect();
			const box = document.querySelector('.log-body').getBoundingClientRect();
			return last.top > box.top && last.bottom < box.bottom;
		})()`,
	)
	j.CheckPage("21-build-failed")
	j.push("Mend the build", j.env.Dockerfile("hello again"), "v1.3")
	j.Follow("Automated builds")
	j.WaitUntil("the list shows a green build", "!!document.querySelector('#automated-list .state.succeeded')")
	j.CheckPage("22-automated-builds")
	j.Follow("acme/app")
	j.Click("Start a build")
	const unfinished = "#builds-list .state.running, #builds-list .state.queued"
	j.WaitUntil("no build runs or waits", "!document.querySelector('"+unfinished+"')")
	j.CheckPage("23-automated-build")
}

// lookAround visits the pages that the other steps do not visit.
func (j *journey) lookAround() {
	j.Follow("Edit")
	j.CheckPage("24-edit")
	j.Follow("Cancel")
	j.Follow("Delete")
	j.CheckPage("25-delete")
	j.Follow("Cancel")
	j.Follow("Deliveries")
	j.CheckPage("26-deliveries")
	j.Follow("Settings")
	j.Follow("Add access token")
	j.CheckPage("27-access-token")
	for name, page := range map[string]string{
		"Registries": "28-registries", "Engines": "29-engines", "People": "30-people",
	} {
		j.Visit(j.env.Gateway.URL + "/settings/providers")
		j.Follow(name)
		j.CheckPage(page)
	}
	j.Click("alice")
	j.WaitText("Role: admin")
	j.CheckPage("31-menu")
	j.Key(kb.Escape)
	j.WaitUntil("the menu is closed", "!document.querySelector('details.menu').open")
	j.Visit(j.env.Gateway.URL + "/builds/4711")
	j.TakeConsoleErrors() // the response had status 404
	j.CheckPage("32-not-found")
}

func (j *journey) unlink() {
	j.Follow("Settings")
	j.Follow("Unlink alice")
	j.CheckPage("33-unlink")
	j.Type("Type alice to confirm", "bob")
	j.Follow("Unlink account")
	j.WaitText("Please fix")
	j.TakeConsoleErrors() // the response had status 422
	j.Type("Type alice to confirm", "alice")
	j.Follow("Unlink account")
	j.WaitText("alice is unlinked")
	j.WaitText("1 webhook was removed")
	j.WaitText("Personal settings → App authorizations → Revoke")
	if hooks := j.env.App.Hooks(); len(hooks) != 0 {
		j.env.T.Errorf("webhooks after unlinking: got %+v, want none", hooks)
	}
	j.CheckPage("34-unlinked")
	j.Follow("Settings")
	j.WaitUntil("the page shows the plug icon for unlinked", "!!document.querySelector('.provider .plug.off')")
	j.CheckPage("35-source-providers-unplugged")
	j.Follow("Automated builds")
	j.CheckPage("36-automated-builds-unplugged")
}

func (j *journey) linkAgain() {
	j.Follow("Settings")
	j.Follow("Link account") // the session at Bitbucket and the grant still exist, so Bitbucket redirects at once
	j.WaitText("The account is linked.")
	j.WaitUntil("the page shows the plug icon for linked", "!!document.querySelector('.provider .plug:not(.off)')")
	if hooks := j.env.App.Hooks(); len(hooks) != 1 || !hooks[0].Active {
		j.env.T.Errorf("webhooks after linking again: got %+v, want one", hooks)
	}
	if path := j.Path(); !strings.HasPrefix(path, "/settings/providers") {
		j.env.T.Errorf("page after linking: got %s, want the source providers", path)
	}
}

func (j *journey) signOut() {
	j.Click("alice")
	j.Follow("Sign out")
	j.WaitText("You are signed out.")
	j.Visit(j.env.Gateway.URL + "/builds/1")
	j.TakeConsoleErrors() // the response had status 401
	j.WaitUntil("the page has no log", "!document.querySelector('#log')")
	j.CheckPage("37-signed-out")
}
