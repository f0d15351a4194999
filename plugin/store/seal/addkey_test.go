package seal_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/store/seal"
)

func TestAddKeyTakesAFreeID(t *testing.T) {
	line := func(id int) string {
		return fmt.Sprintf("%d %s\n", id, base64.StdEncoding.EncodeToString(key(byte(id))))
	}
	for name, c := range map[string]struct {
		content string
		used    []byte
		want    byte
	}{
		"the next one":           {line(1), nil, 2},
		"no end of the line":     {strings.TrimSpace(line(1)), nil, 2},
		"after the newest":       {line(9) + line(4), nil, 5},
		"used in the database":   {line(1), []byte{2, 3}, 4},
		"after the highest":      {line(255), nil, 1},
		"after the highest, too": {line(1) + line(255), []byte{2}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret.key")
			must.Succeed(t, os.WriteFile(path, []byte(c.content), 0o640))
			id, err := seal.AddKey(path, "", c.used)
			must.Succeed(t, err)
			if id != c.want {
				t.Errorf("id: got %d, want %d", id, c.want)
			}
			s, err := seal.LoadOrCreate(path, false)
			must.Succeed(t, err)
			if s.Newest().ID != c.want {
				t.Errorf("newest key: got %d, want %d", s.Newest().ID, c.want)
			}
			info, err := os.Stat(path)
			must.Succeed(t, err)
			if info.Mode().Perm() != 0o640 {
				t.Errorf("permissions: got %v, want the old ones", info.Mode().Perm())
			}
		})
	}
}

func TestAllIDsCanBeInUse(t *testing.T) {
	path, _ := newFile(t)
	var used []byte
	for id := 1; id <= 255; id++ {
		used = append(used, byte(id))
	}
	if _, err := seal.AddKey(path, "", used); err == nil || !strings.Contains(err.Error(), "--remove-old-keys") {
		t.Errorf("add a key: got error %v, want the fix", err)
	}
}

// Concurrent runs lose no key, and a file that a killed process left is replaced.
func TestKeysAreAddedOneAfterTheOther(t *testing.T) {
	path, _ := newFile(t)
	must.Succeed(t, os.WriteFile(path+".new", []byte("1 "), 0o600))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := seal.AddKey(path, "", nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	s, err := seal.LoadOrCreate(path, false)
	must.Succeed(t, err)
	if diff := cmp.Diff([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, ids(s)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(files) != 1 {
		t.Errorf("files: got %v, want the key file only", files)
	}
}

// A file that is longer than a read loses no keys: it is refused, and stays.
func TestALongKeyFileIsRefused(t *testing.T) {
	path, _ := newFile(t)
	content, err := os.ReadFile(path)
	must.Succeed(t, err)
	comments := strings.Repeat("# comment\n", 7000)
	long := string(content) + comments + "2 " + base64.StdEncoding.EncodeToString(key(2)) + "\n"
	must.Succeed(t, os.WriteFile(path, []byte(long), 0o600))
	if _, err := seal.LoadOrCreate(path, false); err == nil || !strings.Contains(err.Error(), "shorten its comments") {
		t.Errorf("load: got error %v, want the fix", err)
	}
	if _, err := seal.AddKey(path, "", nil); err == nil || !strings.Contains(err.Error(), "shorten its comments") {
		t.Errorf("add a key: got error %v, want the fix", err)
	}
	after, err := os.ReadFile(path)
	must.Succeed(t, err)
	if string(after) != long {
		t.Errorf("key file: got %d bytes, want the %d bytes of before", len(after), len(long))
	}
}

func TestAddKeyFollowsALink(t *testing.T) {
	path, _ := newFile(t)
	link := filepath.Join(t.TempDir(), "link")
	must.Succeed(t, os.Symlink(path, link))
	_, err := seal.AddKey(link, "", nil)
	must.Succeed(t, err)
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("link: got %q, error %v, want %q", target, err, path)
	}
	s, err := seal.LoadOrCreate(path, false)
	must.Succeed(t, err)
	if len(s.Keys()) != 2 {
		t.Errorf("keys of the file: got %d, want 2", len(s.Keys()))
	}
}

func TestAddKeyWritesAnotherFile(t *testing.T) {
	path, s := newFile(t)
	out := filepath.Join(t.TempDir(), "new.key")
	_, err := seal.AddKey(path, out, nil)
	must.Succeed(t, err)
	other, err := seal.LoadOrCreate(out, false)
	must.Succeed(t, err)
	if len(other.Keys()) != 2 {
		t.Errorf("keys of the new file: got %d, want 2", len(other.Keys()))
	}
	if changed, err := s.Refresh(1); !changed || err != nil || len(s.Keys()) != 1 {
		t.Errorf("keys of the key file: got %d, error %v, want 1", len(s.Keys()), err)
	}
	if _, err := seal.AddKey(path, out, nil); err == nil {
		t.Error("an existing file: got no error, want one")
	}
}

func TestKeepKeyKeepsCommentsAndTheKey(t *testing.T) {
	path, _ := newFile(t)
	_, err := seal.AddKey(path, "", nil)
	must.Succeed(t, err)
	if _, err := seal.KeepKey(path, 3); err == nil {
		t.Error("an unknown key: got no error, want one")
	}
	if _, err := seal.KeepKey(path, 1); err == nil || !strings.Contains(err.Error(), "key 2 was added meanwhile") {
		t.Errorf("a key that is not the newest: got error %v, want the newer key", err)
	}
	_, err = seal.KeepKey(path, 2)
	must.Succeed(t, err)
	content, err := os.ReadFile(path)
	must.Succeed(t, err)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "# ") || !strings.HasPrefix(lines[1], "2 ") {
		t.Errorf("lines: got %d, want the comment and key 2", len(lines))
	}
	if removed, err := seal.KeepKey(path, 2); len(removed) != 0 || err != nil {
		t.Errorf("again: got removed %v, error %v, want none", removed, err)
	}
}
