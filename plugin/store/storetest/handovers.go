package storetest

import (
	"errors"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func handOver(t *testing.T, s *store.Store) {
	ctx := t.Context()
	b, _ := Started(t, s, AutomatedBuild(t, s, Repository("app")), "", Commit(1))
	if err := s.HandOver(ctx, "nonce", "acme/ci#1", "token-1"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("hand over an attempt without an offer: got %v, want ErrNotFound", err)
	}
	must.Succeed(t, s.OfferAttempt(ctx, b.ID, 1, "nonce", "acme/ci"))
	offered, err := s.AttemptByNonce(ctx, "nonce")
	must.Succeed(t, err)
	if offered.BuildID != b.ID {
		t.Errorf("build of the nonce: got %q, want %q", offered.BuildID, b.ID)
	}
	if offered.EngineRef != "acme/ci" {
		t.Errorf("repository of the nonce: got %q, want acme/ci", offered.EngineRef)
	}
	if _, err := s.AttemptByNonce(ctx, ""); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("attempt without a nonce: got %v, want ErrNotFound", err)
	}
	if err := s.HandOver(ctx, "nonce", "acme/other#7", "stolen"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("hand over to another repository: got %v, want ErrConflict", err)
	}
	must.Succeed(t, s.HandOver(ctx, "nonce", "acme/ci#7", "token-1"))
	if err := s.HandOver(ctx, "nonce", "acme/ci#8", "stolen"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("hand over to a second pipeline: got %v, want ErrConflict", err)
	}
	must.Succeed(t, s.HandOver(ctx, "nonce", "acme/ci#7", "token-2"))
	if _, err := s.AttemptByToken(ctx, b.ID, "token-1"); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("the first token after a second one was created: got %v, want ErrUnauthorized", err)
	}
	if a, err := s.AttemptByToken(ctx, b.ID, "token-2"); err != nil || a.EngineRef != "acme/ci#7" {
		t.Errorf("attempt by its second token: got %+v, error %v, want pipeline acme/ci#7", a, err)
	}
	must.Succeed(t, s.ClaimAttempt(ctx, b.ID, 1, "runner"))
	if err := s.HandOver(ctx, "nonce", "acme/ci#7", "late"); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("hand over after the claim: got %v, want ErrConflict", err)
	}
}

// handOverInvalid checks that a new offer invalidates the earlier one, and that the end of the
// attempt invalidates all offers.
func handOverInvalid(t *testing.T, s *store.Store) {
	ctx := t.Context()
	b, _ := Started(t, s, AutomatedBuild(t, s, Repository("app")), "", Commit(1))
	must.Succeed(t, s.OfferAttempt(ctx, b.ID, 1, "first", "acme/ci"))
	must.Succeed(t, s.OfferAttempt(ctx, b.ID, 1, "second", "acme/app"))
	if err := s.HandOver(ctx, "first", "acme/ci#1", "token"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("hand over after the offer expired: got %v, want ErrNotFound", err)
	}
	_, err := s.CancelBuild(ctx, b.ID, autobuild.ReasonUser, "cancelled")
	must.Succeed(t, err)
	if err := s.HandOver(ctx, "second", "acme/app#1", "token"); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("hand over a cancelled attempt: got %v, want ErrFenced", err)
	}
	if err := s.OfferAttempt(ctx, b.ID, 1, "third", "acme/app"); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("offer a cancelled attempt: got %v, want ErrFenced", err)
	}
	a, err := s.AttemptByNonce(ctx, "second")
	must.Succeed(t, err)
	if a.State != autobuild.Cancelled {
		t.Errorf("a.State: got %v, want %v", a.State, autobuild.Cancelled)
	}
}

func extensionSecrets(t *testing.T, s *store.Store) {
	seen := map[string]bool{}
	if _, err := s.KnownExtensionSecret(t.Context(), "drone", "config"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("an unknown secret: got %v, want ErrNotFound", err)
	}
	for _, place := range [][2]string{{"drone", "config"}, {"drone", "secret"}, {"woodpecker", "config"}} {
		first, err := s.ExtensionSecret(t.Context(), place[0], place[1])
		must.Succeed(t, err)
		again, err := s.ExtensionSecret(t.Context(), place[0], place[1])
		must.Succeed(t, err)
		if known, err := s.KnownExtensionSecret(t.Context(), place[0], place[1]); err != nil || !known.Equal(first) {
			t.Errorf("%v: the secret is unknown: %v", place, err)
		}
		if len(first.Reveal()) < 32 {
			t.Errorf("len(first.Reveal()): got %v, want at least %v", len(first.Reveal()), 32)
		}
		if !first.Equal(again) {
			t.Errorf("first: got %v, want %v", first, again)
		}
		if seen[first.Reveal()] {
			t.Error("second secret: got the first one, want a new one")
		}
		seen[first.Reveal()] = true
	}
}
