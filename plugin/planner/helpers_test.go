package planner_test

import (
	"testing"
	"time"

	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/store/queue"
)

func wantSnooze(t *testing.T, err error, want time.Duration) {
	t.Helper()
	got, ok := queue.SnoozedFor(err)
	if !ok {
		t.Errorf("error: got %v, want a snooze of %s", err, want)
	} else if got != want {
		t.Errorf("snooze: got %s, want %s", got, want)
	}
}

func bitbuckettestCommit(message string) bitbuckettest.NewCommit {
	return bitbuckettest.NewCommit{Files: map[string]string{"Dockerfile": "FROM scratch\n"}, Message: message}
}

func bitbuckettestChild(parent string) bitbuckettest.NewCommit {
	return bitbuckettest.NewCommit{Parent: parent, Files: map[string]string{"f": "child"}, Message: "child"}
}
