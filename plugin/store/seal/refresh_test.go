package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/store/seal"
)

// newFile returns a new key file and its sealer.
func newFile(t *testing.T) (string, *seal.Sealer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret.key")
	s, err := seal.LoadOrCreate(path, true)
	must.Succeed(t, err)
	return path, s
}

func ids(s *seal.Sealer) (all []byte) {
	for _, k := range s.Keys() {
		all = append(all, k.ID)
	}
	return all
}

// A process opens and seals with a key that another process added, without a restart.
func TestS1ANewKeyIsReadFromTheFile(t *testing.T) {
	path, running := newFile(t)
	id, err := seal.AddKey(path, "", nil)
	must.Succeed(t, err)
	if id != 2 {
		t.Fatalf("id of the new key: got %d, want 2", id)
	}
	other, err := seal.LoadOrCreate(path, false)
	must.Succeed(t, err)
	sealed, err := other.Seal(2, "t/c/r", secret.New("value"))
	must.Succeed(t, err)
	got, err := running.Open("t/c/r", sealed)
	if err != nil || got.Reveal() != "value" {
		t.Errorf("opened value: got %q, error %v, want value", got.Reveal(), err)
	}
	if _, err := running.Seal(2, "t/c/r", secret.New("value")); err != nil {
		t.Errorf("seal with the new key: got error %v, want none", err)
	}
	if running.Newest() != other.Newest() {
		t.Errorf("newest key: got %v, want %v", running.Newest(), other.Newest())
	}
}

func TestRefreshReportsAChangeOnce(t *testing.T) {
	path, s := newFile(t)
	refresh := func(want bool) {
		t.Helper()
		if changed, err := s.Refresh(1); changed != want || err != nil {
			t.Errorf("refresh: got changed %t, error %v, want %t", changed, err, want)
		}
	}
	refresh(true)
	refresh(false)
	_, err := seal.AddKey(path, "", nil)
	must.Succeed(t, err)
	refresh(true)
	refresh(false)
	if diff := cmp.Diff([]byte{1, 2}, ids(s)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// A removed key opens values that were read before its removal, and nothing later.
func TestARemovedKeyIsDropped(t *testing.T) {
	path, s := newFile(t)
	now := time.Now()
	s.SetClock(func() time.Time { return now })
	sealed, err := s.Seal(1, "t/c/r", secret.New("value"))
	must.Succeed(t, err)
	_, err = seal.AddKey(path, "", nil)
	must.Succeed(t, err)
	removed, err := seal.KeepKey(path, 2)
	must.Succeed(t, err)
	if diff := cmp.Diff([]byte{1}, removed); diff != "" {
		t.Errorf("removed keys (-want +got):\n%s", diff)
	}
	_, err = s.Refresh(2)
	must.Succeed(t, err)
	if diff := cmp.Diff([]byte{2}, ids(s)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if _, err := s.Open("t/c/r", sealed); err != nil {
		t.Errorf("open at once after the removal: got error %v, want none", err)
	}
	now = now.Add(time.Minute)
	_, err = s.Refresh(2)
	must.Succeed(t, err)
	if _, err := s.Open("t/c/r", sealed); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("open after a minute: got error %v, want ErrUnknownKey", err)
	}
}

// A file without the key in use, or one that cannot be read, changes nothing in a running process.
func TestRefreshKeepsTheKeyInUse(t *testing.T) {
	path, s := newFile(t)
	sealed, err := s.Seal(1, "t/c/r", secret.New("value"))
	must.Succeed(t, err)
	content, err := os.ReadFile(path)
	must.Succeed(t, err)
	for name, text := range map[string]string{
		"other key": strings.Replace(string(content), "\n1 ", "\n7 ", 1), "damaged": "1 ???",
	} {
		must.Succeed(t, os.WriteFile(path, []byte(text), 0o600))
		for range 2 {
			if _, err := s.Refresh(1); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: got error %v, want one with the path", name, err)
			}
		}
		if _, err := s.Open("t/c/r", sealed); err != nil {
			t.Errorf("%s: open: got error %v, want none", name, err)
		}
	}
	must.Succeed(t, os.Remove(path))
	if _, err := s.Refresh(1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got error %v, want ErrNotExist", err)
	}
	must.Succeed(t, os.WriteFile(path, content, 0o600))
	if _, err := s.Refresh(1); err != nil {
		t.Errorf("the old file again: got error %v, want none", err)
	}
}
