package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// A change of the key was interrupted, and the key file is an older copy: the key is missing, and the database
// is not damaged.
func TestAnOlderKeyFileAfterAnInterruptedRekey(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "secret.key")
	s := mustOpen(t, dir)
	_, err := s.SaveRegistry(t.Context(), autobuild.Registry{Host: "registry", Password: secret.New("p")})
	must.Succeed(t, err)
	must.Succeed(t, s.Close())
	old := must.Get[[]byte](t)(os.ReadFile(key))
	_, err = seal.AddKey(key, "", nil)
	must.Succeed(t, err)
	s = mustOpen(t, dir)
	_, newest := s.Keys()
	must.Succeed(t, s.UseKey(t.Context(), newest))
	must.Succeed(t, s.Close())
	must.Succeed(t, os.WriteFile(key, old, 0o600))

	_, err = open(t, dir)
	if !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("open with an older key file: got error %v, want ErrWrongKey", err)
	}
	for _, want := range []string{"key 2", "put the line of this key back"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open with an older key file: got error %v, want %q in it", err, want)
		}
	}
}
