package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

func hookSecrets(t *testing.T, s *store.Store) {
	hookSecretReplace(t, s)
	hookSecretKept(t, s)
}

// hookSecretReplace replaces a secret, and expects ErrConflict if another process replaced it
// first.
func hookSecretReplace(t *testing.T, s *store.Store) {
	before, err := s.SaveHook(t.Context(),
		autobuild.Hook{Repository: Repository("app"), Secret: secret.New("first"), State: autobuild.HookActive})
	must.Succeed(t, err)
	if before.SecretPending() {
		t.Errorf("a new hook: got a pending secret (version %d, written %d), want none", before.SecretVersion,
			before.SecretWritten)
	}
	until := time.UnixMilli(9000).UTC()
	replaced, err := s.ReplaceHookSecret(t.Context(), before, secret.New("second"), until)
	must.Succeed(t, err)
	want := before
	want.Secret, want.PreviousSecret, want.PreviousUntil = secret.New("second"), secret.New("first"), until
	want.SecretVersion, want.SecretWritten = 2, 1
	if diff := cmp.Diff(want, replaced); diff != "" {
		t.Errorf("replaced (-want +got):\n%s", diff)
	}
	if !replaced.SecretPending() {
		t.Error("a replaced secret: got not pending, want pending")
	}
	_, err = s.ReplaceHookSecret(t.Context(), before, secret.New("third"), until)
	if !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("replace the first secret again: got %v, want ErrConflict", err)
	}
	must.Succeed(t, s.ConfirmHookSecret(t.Context(), before.ID, 2))
	must.Succeed(t, s.ConfirmHookSecret(t.Context(), before.ID, 1)) // older: changes nothing
	want.SecretWritten = 2
	got, err := s.Hook(t.Context(), before.ID)
	must.Succeed(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("confirmed (-want +got):\n%s", diff)
	}
	must.Succeed(t, s.DeleteHook(t.Context(), before.ID))
	if err := s.ConfirmHookSecret(t.Context(), before.ID, 2); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("confirm a deleted hook: got %v, want ErrNotFound", err)
	}
	if _, err := s.ReplaceHookSecret(t.Context(), got, secret.New("third"), until); !errors.Is(err,
		autobuild.ErrNotFound) {
		t.Errorf("replace the secret of a deleted hook: got %v, want ErrNotFound", err)
	}
}

// hookSecretKept saves a hook that was read before its secret was replaced.
func hookSecretKept(t *testing.T, s *store.Store) {
	stale, err := s.SaveHook(t.Context(),
		autobuild.Hook{Repository: Repository("app"), Secret: secret.New("first"), State: autobuild.HookActive})
	must.Succeed(t, err)
	replaced, err := s.ReplaceHookSecret(t.Context(), stale, secret.New("second"), time.UnixMilli(9000).UTC())
	must.Succeed(t, err)
	stale.Problem = "changed"
	got, err := s.SaveHook(t.Context(), stale)
	must.Succeed(t, err)
	want := replaced
	want.Problem = "changed"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("saved (-want +got):\n%s", diff)
	}
}
