package planner_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/planner"
)

// F18: a push that Bitbucket did not deliver, because it was too large or its webhook was taken
// away, is found by the clock, and then one webhook stands.
func TestF18WhatIsNotDeliveredIsFoundByTheClock(t *testing.T) {
	for name, happens := range map[string]func(*town) (message string){
		"too large": func(*town) string { return strings.Repeat("long story\n", 30_000) },
		"removed":   func(w *town) string { w.app.RemoveHooks(); return "B" },
		"disabled":  func(w *town) string { w.app.DisableHooks(); return "B" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			w.automate("r/app", branchRule("main", "latest"))
			first := w.commit("main", "A")
			w.planAll()
			checks := w.checkHooks()
			missed := ""
			w.runPollsEvery(planner.Every{Polled: time.Second, Active: 30 * time.Minute}, func() bool {
				switch {
				case w.faults.count("/refs/tags") == 0: // the poll of the start is to come
				case missed == "":
					missed = w.commit("main", happens(w))
				default:
					w.pass(time.Minute)
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
			if *checks != 2 { // at the start, and by the clock
				t.Errorf("the webhook was checked %d times", *checks)
			}
		})
	}
}

// A webhook that cannot be checked keeps no push from being found.
func TestAWebhookThatCannotBeCheckedIsPolledFor(t *testing.T) {
	w := newTown(t)
	w.automate("r/app", branchRule("main", "latest"))
	head := w.commit("main", "A")
	w.Planner = w.planner(func(context.Context, autobuild.Repository) error { panic("nil pointer dereference") })
	w.runPolls(time.Hour, func() bool { return len(w.builds()) == 1 })
	w.wantCommits(head)
}

// checkHooks has the town's webhook looked after and counts how often; read the count when no
// polls run.
func (w *town) checkHooks() *int {
	url, checks := w.app.Hooks()[0].URL, 0
	w.Planner = w.planner(func(ctx context.Context, r autobuild.Repository) error {
		checks++
		_, err := w.account.connection.Hooks.Ensure(ctx, r, autobuild.Webhook{URL: url, Secret: w.hook.Secret})
		return err
	})
	return &checks
}
