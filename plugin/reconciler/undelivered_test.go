package reconciler_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
	"slipway/plugin/reconciler"
)

// F18: The periodic poll finds a push that Bitbucket did not deliver, because the payload was too
// large or the webhook was removed or disabled. Afterwards there is one active webhook.
func TestF18UndeliveredPushesAreFoundByThePeriodicPoll(t *testing.T) {
	for name, happens := range map[string]func(*env) (message string){
		"too large": func(*env) string { return strings.Repeat("long story\n", 30_000) },
		"removed":   func(w *env) string { w.App.RemoveHooks(); return "B" },
		"disabled":  func(w *env) string { w.App.DisableHooks(); return "B" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			w.Automate("r/app", plannertest.BranchRule("main", "latest"))
			first := w.Commit("main", "A")
			w.PlanAll()
			checks := w.checkHooks()
			missed := ""
			w.runPollsEvery(reconciler.Intervals{Polled: time.Second, Active: 30 * time.Minute}, func() bool {
				switch {
				case w.Faults.Count("/refs/tags") == 0: // the first poll did not run yet
				case missed == "":
					missed = w.Commit("main", happens(w))
				default:
					w.Advance(time.Minute)
				}
				return len(w.Builds()) == 2
			})
			w.WantCommits(first, missed)
			if n := len(w.Bodies()); n != 0 {
				t.Errorf("deliveries: got %d, want none", n)
			}
			hooks := w.App.Hooks()
			if len(hooks) != 1 {
				t.Fatalf("webhooks: got %v, want 1", len(hooks))
			}
			if !hooks[0].Active {
				t.Error("webhook: got an inactive one, want an active one")
			}
			if *checks != 2 { // at the start, and at the interval
				t.Errorf("checks of the webhook: got %d, want 2", *checks)
			}
		})
	}
}

// A push is found even if the check of its webhook fails.
func TestAFailedWebhookCheckDoesNotStopThePoll(t *testing.T) {
	w := newEnv(t)
	w.Automate("r/app", plannertest.BranchRule("main", "latest"))
	head := w.Commit("main", "A")
	w.Restart(func(context.Context, autobuild.Repository) error { panic("nil pointer dereference") })
	w.runPolls(time.Hour, func() bool { return len(w.Builds()) == 1 })
	w.WantCommits(head)
}

// checkHooks makes the reconciler check the webhook and counts the checks. Read the count only while
// no polls run.
func (w *env) checkHooks() *int {
	url, checks := w.App.Hooks()[0].URL, 0
	w.Restart(func(ctx context.Context, r autobuild.Repository) error {
		checks++
		_, err := w.Account.Connection.Hooks.Ensure(ctx, r, autobuild.Webhook{URL: url, Secret: w.Hook.Secret})
		return err
	})
	return &checks
}
