package provider_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/provider"
)

const head = "0123456789abcdef0123456789abcdef01234567"

func TestParsePushKeepsEveryFieldOfAChange(t *testing.T) {
	body := `{"repository":{"uuid":"{r}","full_name":"acme/app"},"push":{"changes":[
		{"old":null,"new":{"type":"tag","name":"v1","target":{"hash":"` + head + `","message":"ship it"}}},
		{"old":null,"new":null}]}}`
	got, err := provider.ParsePush(autobuild.Cloud, "repo:push", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := autobuild.Push{
		Event:      "repo:push",
		Repository: autobuild.Repository{ID: "{r}", FullName: "acme/app"},
		Changes: []autobuild.Change{{Kind: autobuild.Tag, Name: "v1", Action: autobuild.Created, Commit: head,
			Message: "ship it"}},
		Skipped: []string{"push.changes[1]: it has neither an old nor a new ref"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParsePushOfDataCenterHasTheDecimalID(t *testing.T) {
	body := `{"repository":{"id":84,"slug":"app","project":{"key":"ACME"}},"changes":[]}`
	got, err := provider.ParsePush(autobuild.DataCenter, "repo:refs_changed", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if want := (autobuild.Repository{ID: "84", FullName: "ACME/app"}); got.Repository != want {
		t.Errorf("repository: got %+v, want %+v", got.Repository, want)
	}
}

func TestParsePushRefusesAnUnknownKindOfProvider(t *testing.T) {
	if _, err := provider.ParsePush("github", "push", []byte(`{}`)); err == nil {
		t.Error("parse push: got no error, want one")
	}
	if _, err := provider.MaxPayload("github"); err == nil {
		t.Error("max payload: got no error, want one")
	}
	if n, err := provider.MaxPayload(autobuild.DataCenter); err != nil || n != 10<<20 {
		t.Errorf("MaxPayload: got %d, error %v, want %d", n, err, 10<<20)
	}
}
