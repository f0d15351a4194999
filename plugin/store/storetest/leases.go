package storetest

import (
	"testing"
	"time"

	"slipway/plugin/store"
)

func leases(t *testing.T, s *store.Store) {
	for range 2 { // taken, and renewed
		if held, err := s.Hold(t.Context(), "lead", time.Minute); !held || err != nil {
			t.Fatalf("got held %v, error %v, want true and no error", held, err)
		}
	}
	if held, err := s.Held(t.Context(), "lead"); !held || err != nil {
		t.Errorf("got held %v, error %v, want true and no error", held, err)
	}
	if held, err := s.Held(t.Context(), "other"); held || err != nil {
		t.Errorf("another owner: got held %v, error %v, want false", held, err)
	}
	if held, err := s.Hold(t.Context(), "short", -time.Millisecond); !held || err != nil {
		t.Fatalf("got held %v, error %v, want true and no error", held, err)
	}
	if held, err := s.Held(t.Context(), "short"); held || err != nil {
		t.Errorf("expired lease: got held %v, error %v, want false", held, err)
	}
	if err := s.Release(t.Context(), "lead"); err != nil {
		t.Fatal(err)
	}
	if held, err := s.Held(t.Context(), "lead"); held || err != nil {
		t.Errorf("released lease: got held %v, error %v, want false", held, err)
	}
}

func attemptsGateway(t *testing.T, s *store.Store) {
	a := AutomatedBuild(t, s, Repository("app"))
	_, attempt := Started(t, s, a, "", Commit(1))
	if attempt.Gateway != s.Gateway() {
		t.Errorf("attempt.Gateway: got %v, want %v", attempt.Gateway, s.Gateway())
	}
	if len(s.Gateway()) != 26 {
		t.Fatalf("length of the gateway's id: got %v, want 26", len(s.Gateway()))
	}
}
