package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/store/seal"
)

func key(n byte) []byte { return bytes.Repeat([]byte{n}, seal.KeySize) }

func sealer(t *testing.T, current byte, keys map[byte][]byte) *seal.Sealer {
	t.Helper()
	s, err := seal.New(current, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS1ASealedValueOpensInItsPlaceOnly(t *testing.T) {
	s := sealer(t, 1, map[byte][]byte{1: key(1)})
	sealed, err := s.Seal(1, "accounts/access_token/a", secret.New("t0ken"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("t0ken")) {
		t.Fatalf("sealed value: got %x with the secret in it, want it sealed", sealed)
	}
	if sealed[0] != 1 {
		t.Fatalf("first byte of the sealed value: got %v, want 1", sealed[0])
	}
	if again, _ := s.Seal(1, "accounts/access_token/a", secret.New("t0ken")); bytes.Equal(sealed, again) {
		t.Error("seal one value twice: got equal results, want different ones")
	}
	if got, err := s.Open("accounts/access_token/a", sealed); err != nil || got.Reveal() != "t0ken" {
		t.Errorf("opened value: got %q, error %v, want t0ken", got.Reveal(), err)
	}
	for _, place := range []string{"accounts/access_token/b", "accounts/refresh_token/a", ""} {
		if got, err := s.Open(place, sealed); err == nil || !got.IsZero() {
			t.Errorf("open at %q: got no error, want one", place)
		}
	}
	for i := range sealed { // altered, the key id included
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if _, err := s.Open("accounts/access_token/a", altered); err == nil {
			t.Errorf("open with byte %d changed: got no error, want one", i)
		}
		if _, err := s.Open("accounts/access_token/a", sealed[:i]); err == nil && i > 0 {
			t.Errorf("open a value cut to %d bytes: got no error, want one", i)
		}
	}
}

func TestAnEmptySecretIsSealedAsNil(t *testing.T) {
	s := sealer(t, 1, map[byte][]byte{1: key(1)})
	sealed, err := s.Seal(1, "t/c/r", secret.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != 0 {
		t.Fatalf("length of the sealed value: got %v, want 0", len(sealed))
	}
	got, err := s.Open("t/c/r", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !got.IsZero() {
		t.Errorf("opened value: got %v, want zero", got)
	}
	if _, err := s.Seal(1, "", secret.New("x")); err == nil {
		t.Error("seal without a place: got no error, want one")
	}
}

func TestOldKeysStillOpen(t *testing.T) {
	old := sealer(t, 1, map[byte][]byte{1: key(1)})
	both := sealer(t, 2, map[byte][]byte{1: key(1), 2: key(2)})
	before, _ := old.Seal(1, "t/c/r", secret.New("value"))
	after, _ := both.Seal(2, "t/c/r", secret.New("value"))
	for _, sealed := range [][]byte{before, after} {
		got, err := both.Open("t/c/r", sealed)
		if err != nil {
			t.Fatal(err)
		}
		if got.Reveal() != "value" {
			t.Errorf("opened value: got %q, want %q", got.Reveal(), "value")
		}
	}
	if after[0] != 2 {
		t.Errorf("id of the sealing key: got %d, want 2", after[0])
	}
	if _, err := old.Open("t/c/r", after); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("open: got error %v, want ErrUnknownKey", err)
	}
	if _, err := old.Seal(2, "t/c/r", secret.New("value")); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("seal: got error %v, want ErrUnknownKey", err)
	}
}

func TestBadKeys(t *testing.T) {
	for name, keys := range map[string]map[byte][]byte{
		"none": {}, "short": {1: key(1)[:16]}, "not current": {2: key(2)},
	} {
		if _, err := seal.New(1, keys); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func TestTheKeyFileIsCreatedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	if _, err := seal.LoadOrCreate(path, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without create: got %v, want ErrNotExist", err)
	}
	first, err := seal.LoadOrCreate(path, true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("permissions: got %v, want %v", info.Mode().Perm(), 0o600)
	}
	second, err := seal.LoadOrCreate(path, true)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := first.Seal(1, "t/c/r", secret.New("value"))
	got, err := second.Open("t/c/r", sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got.Reveal() != "value" {
		t.Errorf("opened value after the second start: got %q, want %q", got.Reveal(), "value")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("files left: got %v, want none", left)
	}
	if _, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "no", "dir"), true); err == nil {
		t.Error("a missing directory: got no error, want one")
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(key(7))
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"readable by others", "1 " + good, 0o604, "others may read"},
		{"writable by the group", "1 " + good, 0o620, "others may read"},
		{"empty", "# nothing\n\n", 0o600, "no key"},
		{"no id", good, 0o600, "line 1"},
		{"id 0", "0 " + good, 0o600, "line 1"},
		{"id 256", "256 " + good, 0o600, "line 1"},
		{"not base64", "1 " + good + "\n2 ???", 0o600, "line 2"},
		{"short", "1 " + good[:20], 0o600, "line 1"},
		{"twice", "1 " + good + "\n1 " + good, 0o600, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := seal.LoadOrCreate(path, true)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("load or create the key: got error %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), good[:20]) {
				t.Errorf("error: got %v, want it without the key", err)
			}
		})
	}
}

func TestS1TheLastKeyOfTheFileIsTheNewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	lines := "# old\n1 " + base64.StdEncoding.EncodeToString(
		key(1),
	) + "\n\n9 " + base64.StdEncoding.EncodeToString(
		key(9),
	) + "\n"
	if err := os.WriteFile(path, []byte(lines), 0o440); err != nil {
		t.Fatal(err)
	}
	s, err := seal.LoadOrCreate(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if newest := s.Newest().ID; newest != 9 {
		t.Errorf("newest key: got %d, want 9", newest)
	}
}
