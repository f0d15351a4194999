package planner_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
)

// F18: The periodic poll finds a push that Bitbucket did not deliver, because the payload was too
// large or the webhook was removed or disabled. Afterwards there is one active webhook.
func TestF18UndeliveredPushesAreFoundByThePeriodicPoll(t *testing.T) {
	for name, happens := range map[string]func(*env) (message string){
		"too large": func(*env) string { return strings.Repeat("long story\n", 30_000) },
		"removed":   func(w *env) string { w.app.RemoveHooks(); return "B" },
		"disabled":  func(w *env) string { w.app.DisableHooks(); return "B" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			w.automate("r/app", branchRule("main", "latest"))
			first := w.commit("main", "A")
			w.planAll()
			checks := w.checkHooks()
			missed := ""
			w.runPollsEvery(planner.Intervals{Polled: time.Second, Active: 30 * time.Minute}, func() bool {
				switch {
				case w.faults.count("/refs/tags") == 0: // the first poll did not run yet
				case missed == "":
					missed = w.commit("main", happens(w))
				default:
					w.advance(time.Minute)
				}
				return len(w.builds()) == 2
			})
			w.wantCommits(first, missed)
			if n := len(w.bodies()); n != 0 {
				t.Errorf("%d deliveries", n)
			}
			if hooks := w.app.Hooks(); len(hooks) != 1 || !hooks[0].Active {
				t.Errorf("webhooks %+v", hooks)
			}
			if *checks != 2 { // at the start, and at the interval
				t.Errorf("the webhook was checked %d times", *checks)
			}
		})
	}
}

// A push is found even if the check of its webhook fails.
func TestAFailedWebhookCheckDoesNotStopThePoll(t *testing.T) {
	w := newEnv(t)
	w.automate("r/app", branchRule("main", "latest"))
	head := w.commit("main", "A")
	w.Planner = w.planner(func(context.Context, autobuild.Repository) error { panic("nil pointer dereference") })
	w.runPolls(time.Hour, func() bool { return len(w.builds()) == 1 })
	w.wantCommits(head)
}

// checkHooks makes the planner check the webhook and counts the checks. Read the count only while
// no polls run.
func (w *env) checkHooks() *int {
	url, checks := w.app.Hooks()[0].URL, 0
	w.Planner = w.planner(func(ctx context.Context, r autobuild.Repository) error {
		checks++
		_, err := w.account.connection.Hooks.Ensure(ctx, r, autobuild.Webhook{URL: url, Secret: w.hook.Secret})
		return err
	})
	return &checks
}
