package planner_test

import (
	"testing"
	"time"

	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/store/queue"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantSnooze(t *testing.T, err error, want time.Duration) {
	t.Helper()
	if got, ok := queue.SnoozedFor(err); !ok || got != want {
		t.Errorf("error %v, want a snooze of %s", err, want)
	}
}

func bitbuckettestCommit(message string) bitbuckettest.NewCommit {
	return bitbuckettest.NewCommit{Files: map[string]string{"Dockerfile": "FROM scratch\n"}, Message: message}
}
