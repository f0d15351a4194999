package seal

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"slipway/config/durable"
)

// maxID is the highest id of a key.
const maxID = 255

// AddKey adds a new key to the key file at path, and returns its id. The key is the last one of the
// file, and durable if the error is nil. used are ids that must not be taken, because values of the
// database have them. A process that is killed leaves the file as it was, or with the new key.
//
// If out is not empty, AddKey writes the new content to that file, which must not exist, and leaves
// the key file as it is.
func AddKey(path, out string, used []byte) (id byte, err error) {
	err = rewrite(path, out, func(content []byte) ([]byte, error) {
		s, err := parse(bytes.NewReader(content))
		if err != nil {
			return nil, err
		}
		if id, err = s.freeID(used); err != nil {
			return nil, err
		}
		if len(content) > 0 && content[len(content)-1] != '\n' {
			content = append(content, '\n')
		}
		return append(content, newLine(id)...), nil
	})
	return id, err
}

// freeID returns the id of the next key: one more than the newest id, or the next free one.
func (s *Sealer) freeID(used []byte) (byte, error) {
	for n := range maxID {
		id := byte((int(s.newest)+n)%maxID + 1) //nolint:gosec // at most maxID
		if _, taken := s.keys[id]; !taken && !bytes.Contains(used, []byte{id}) {
			return id, nil
		}
	}
	return 0, errors.New("all key ids from 1 to 255 are in use: remove old keys with `slipway rekey --remove-old-keys`")
}

// newLine returns the line of a new key.
func newLine(id byte) string {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails
	return fmt.Sprintf("%d %s\n", id, base64.StdEncoding.EncodeToString(key))
}

// KeepKey removes all keys but the newest one, keep, from the key file at path, and returns the ids of the
// removed ones. Comments stay. It changes nothing if the file has no other key. A newer key is an error: the
// database may use it by now.
func KeepKey(path string, keep byte) (removed []byte, err error) {
	err = rewrite(path, "", func(content []byte) ([]byte, error) {
		s, err := parse(bytes.NewReader(content))
		if err != nil {
			return nil, err
		}
		if _, ok := s.keys[keep]; !ok {
			return nil, fmt.Errorf("key %d: %w", keep, ErrUnknownKey)
		}
		if s.newest != keep {
			return nil, fmt.Errorf("key %d was added meanwhile: run `slipway rekey`", s.newest)
		}
		for _, k := range s.Keys() {
			if k.ID != keep {
				removed = append(removed, k.ID)
			}
		}
		if len(removed) == 0 {
			return nil, nil
		}
		return linesOf(content, keep)
	})
	return removed, err
}

// linesOf returns a key file's content without the lines of other keys than keep.
func linesOf(content []byte, keep byte) ([]byte, error) {
	var kept bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line != "" && !strings.HasPrefix(line, "#") {
			id, _, err := parseLine(line)
			if err != nil {
				return nil, err
			}
			if id != keep {
				continue
			}
		}
		kept.WriteString(lines.Text() + "\n")
	}
	return kept.Bytes(), lines.Err()
}

// rewrite replaces the content of a key file by change's result; nil = no change. If out is not
// empty, it writes the result there. It locks the directory, so that two processes do not lose a
// key of each other.
func rewrite(path, out string, change func(content []byte) ([]byte, error)) error {
	path, err := filepath.EvalSymlinks(path) // the file is replaced, and a link to it stays
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	defer unlock()
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	content, err := readKeyFile(f)
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	next, err := change(content)
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	switch {
	case next == nil:
		return nil
	case out != "":
		return writeNew(out, next)
	}
	if err := replace(path, info, next); err != nil {
		return fmt.Errorf("replace key file %s: %w", path, err)
	}
	return nil
}

// replace replaces a file by one with the same owner and mode. The name of the temporary file is
// fixed, so that the next call removes what a killed process left.
func replace(path string, old os.FileInfo, content []byte) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary) }()
	if stat, ok := old.Sys().(*syscall.Stat_t); ok && (int(stat.Uid) != os.Geteuid() || int(stat.Gid) != os.Getegid()) {
		if err := f.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return errors.Join(fmt.Errorf("run the command as the owner of the file: %w", err), f.Close())
		}
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(old.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// writeNew writes a new file with mode 0600.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the new key file: %w", err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the new key file: %w", err), os.Remove(path))
	}
	return durable.SyncDir(filepath.Dir(path))
}

// lockDir waits for the lock of a directory. The system releases it if the process dies.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the directory: %w", err), d.Close())
	}
	return func() { _ = d.Close() }, nil
}
