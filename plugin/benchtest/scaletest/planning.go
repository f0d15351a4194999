package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// operations are what a push does to the database, in order.
func operations() []string {
	return []string{"receive", "plan", "start an attempt", "claim it", "end it", "retention, none is old"}
}

// measurePlanning measures the statements of pushes on both databases, in turns, without gateways.
func measurePlanning(ctx context.Context, o options, both pair) (rows []row, err error) {
	small, err := both.small.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, small.Close()) }()
	large, err := both.large.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, large.Close()) }()
	took := [2]map[string][]time.Duration{{}, {}}
	for round := range o.rounds + 1 { // the first one is for warming up
		for i, one := range []struct {
			s    *store.Store
			size size
		}{{small, o.small}, {large, o.large}} {
			all := map[string]time.Duration{}
			for n := range o.pushes {
				if err := push(ctx, one.s, one.size, round*o.pushes+n, all); err != nil {
					return nil, err
				}
			}
			if err := timed(all, "retention, none is old", func() error { return prune(ctx, one.s) }); err != nil {
				return nil, err
			}
			for name, d := range all {
				if round > 0 {
					took[i][name] = append(took[i][name], d)
				}
			}
		}
	}
	for _, name := range operations() {
		rows = append(rows, compared(name, took[0][name], took[1][name], planningGoal, ""))
	}
	return rows, nil
}

func timed(all map[string]time.Duration, name string, f func() error) error {
	begin := time.Now()
	err := f()
	all[name] += time.Since(begin)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// prune removes the data that is older than the history: none.
func prune(ctx context.Context, s *store.Store) error {
	_, err := s.Prune(ctx, s.Now().AddDate(0, 0, -historyDays-1))
	return err
}

// push stores a delivery, and plans, starts and ends its build. It adds the times of the operations.
func push(ctx context.Context, s *store.Store, of size, n int, all map[string]time.Duration) error {
	automated := n % of.automatedBuilds
	a, err := s.AutomatedBuild(ctx, automatedID(automated))
	if err != nil {
		return err
	}
	ref := autobuild.Ref{Kind: autobuild.Branch, Name: fmt.Sprint("feature-", n)}
	commit := fmt.Sprintf("%040x", n)
	p := autobuild.Plan{State: autobuild.DeliveryPlanned, Repository: a.Repository, Moves: []autobuild.Move{{
		Transition: autobuild.Transition{Repository: a.Repository, Ref: ref, New: commit},
		Outcome:    autobuild.Outcome{Change: autobuild.Change{Kind: ref.Kind, Name: ref.Name, Commit: commit}},
		Builds: []autobuild.Build{{
			AutomatedBuildID: a.ID, RuleID: a.Rules[0].ID, Repository: a.Repository, Ref: ref, Image: a.Image,
			Commit: autobuild.Commit{Hash: commit}, Tags: []string{"latest"}, Publish: true, Cause: autobuild.CausePush,
		}},
	}}}
	err = timed(all, "receive", func() (err error) {
		p.DeliveryID, err = s.ReceiveDelivery(
			ctx,
			autobuild.Delivery{HookID: hookID(automated), Event: "repo:push", Body: []byte("{}")},
		)
		return err
	})
	if err != nil {
		return err
	}
	var builds []autobuild.Build
	err = timed(all, "plan", func() (err error) { builds, err = s.Plan(ctx, p); return err })
	if err != nil {
		return err
	}
	return runBuild(ctx, s, builds[0].ID, all)
}

func runBuild(ctx context.Context, s *store.Store, id string, all map[string]time.Duration) error {
	limits := autobuild.Limits{Total: 4}
	err := timed(all, "start an attempt", func() error {
		_, err := s.StartAttempt(ctx, id, "embedded", "hash-"+id, s.Now().Add(time.Hour), limits)
		return err
	})
	if err != nil {
		return err
	}
	if err := timed(all, "claim it", func() error { return s.ClaimAttempt(ctx, id, 1, "runner") }); err != nil {
		return err
	}
	return timed(all, "end it", func() error {
		_, err := s.FinishAttempt(ctx, autobuild.Finish{BuildID: id, Attempt: 1, State: autobuild.Succeeded})
		return err
	})
}
