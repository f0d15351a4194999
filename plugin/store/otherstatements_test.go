package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/storetest"
)

// runOtherStatements runs the statements that the suite does not run, because other tests check their results.
func runOtherStatements(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a := storetest.AutomatedBuild(t, s, storetest.Repository("app"))
	b, _ := storetest.Started(t, s, a, "", storetest.Commit(1))
	_, err := s.Repositories(ctx, a.Repository.ProviderID)
	must.Succeed(t, err)
	_, err = s.InstanceID(ctx)
	must.Succeed(t, err)
	writeLogs(t, s, b.ID)
	workOff(t, s)
	must.Succeed(t, s.AdoptRefs(ctx, a.Repository, []autobuild.Head{{Ref: storetest.Main()}}))
	must.Succeed(t, s.Ping(ctx))
	_, err = s.SucceededBuild(ctx, b)
	if !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("succeeded build: got error %v, want ErrNotFound", err)
	}
	keys, _ := s.Keys()
	_, err = s.ReportKeys(ctx, time.Minute, true)
	must.Succeed(t, err)
	_, err = s.GatewaysWithout(ctx, keys[0])
	must.Succeed(t, err)
	_, err = s.FinishAttempt(ctx, autobuild.Finish{
		BuildID: b.ID, Attempt: 1, State: autobuild.Errored, Unstarted: true,
	})
	must.Succeed(t, err)

	// A backup was restored.
	must.Succeed(t, store.ExecWithoutTransaction(t, s,
		`INSERT INTO instance (name, value) VALUES ('restored_at', '9999999999999')`))
	must.Succeed(t, store.RecordRestoredStart(t, s))
	_, err = s.AfterRestore(ctx, b)
	must.Succeed(t, err)
	_, err = s.EndRestored(
		ctx,
		autobuild.Hook{Repository: a.Repository},
		map[autobuild.Ref]string{storetest.Main(): "x"},
	)
	must.Succeed(t, err)
}

func writeLogs(t *testing.T, s *store.Store, build string) {
	t.Helper()
	ctx := t.Context()
	must.Succeed(t, s.WriteLog(ctx, build, 1, func(autobuild.LogEnd) (autobuild.LogAddition, error) {
		return autobuild.LogAddition{Data: []byte("x")}, nil
	}))
	_, err := s.ReadLog(ctx, build, 1, 0, 10)
	must.Succeed(t, err)
	_, err = s.LogSize(ctx, build, 1)
	must.Succeed(t, err)
	_, err = s.LoggedBuilds(ctx, "")
	must.Succeed(t, err)
	must.Succeed(t, s.RemoveLogs(ctx, build))
}

// workOff lets one task fail, be postponed, keep its lease and end, and another one die.
func workOff(t *testing.T, s *store.Store) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ended := make(chan error, 2)
	s.Tasks().Handle("work", func(ctx context.Context, task queue.Task) error {
		switch {
		case task.Arg == "bad":
			return queue.Permanent(errors.New("bad"))
		case task.Attempt == 1:
			return errors.New("once more")
		}
		held, err := s.Tasks().Holds(ctx, task)
		if err == nil && !held {
			err = errors.New("the task is not held")
		}
		ended <- err
		return err
	}, queue.Options{Dead: func(context.Context, queue.Task, error) { ended <- nil }})
	store.Enqueue(t, s, queue.NewTask{Kind: "work", Arg: "bad", Lane: "lane"})
	store.Enqueue(t, s, queue.NewTask{Kind: "work", Arg: "good", Lane: "lane"})
	running := make(chan error, 1)
	go func() { running <- s.Tasks().Run(ctx) }()
	for range 2 {
		select {
		case err := <-ended:
			must.Succeed(t, err)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	stop()
	must.Succeed(t, <-running)
}
