package seal

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipway/config/durable"
)

// maxKeyFile bounds the size of a key file, in bytes. 255 keys need a quarter of it.
const maxKeyFile = 64 << 10

// LoadOrCreate reads the key file at path. If the file does not exist and create is true, it
// creates one with mode 0600. It refuses a file that other users may read or change.
//
// Each line has one key, as "id base64", for example "1 q83vEj...=". The id is from 1 to 255. The
// last key is the newest; a database that still uses another one changes to it with AddKey's
// caller, "slipway rekey". Empty lines and lines that begin with # are ignored.
func LoadOrCreate(path string, create bool) (*Sealer, error) {
	if create {
		removeUnfinished(filepath.Dir(path))
	}
	s, err := load(path)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("create key file %s: %w", path, err)
	}
	return load(path)
}

func load(path string) (*Sealer, error) {
	path, err := filepath.Abs(path) // it is read again later
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	// Read access of the group is allowed, because orchestrators mount secrets this way.
	if mode := info.Mode().Perm(); mode&0o037 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: others may read or change it; chmod 600 it", path, mode)
	}
	content, err := readKeyFile(f)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	s, err := parse(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	s.path, s.loaded = path, stamp{info}
	return s, nil
}

// readKeyFile reads a whole key file. A longer one is an error: its last keys would be lost.
func readKeyFile(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	if err == nil && len(content) > maxKeyFile {
		err = fmt.Errorf("it has more than %d bytes: shorten its comments", maxKeyFile)
	}
	return content, err
}

func parse(r io.Reader) (*Sealer, error) {
	keys := map[byte][]byte{}
	newest := byte(0)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, key, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if keys[id] != nil {
			return nil, fmt.Errorf("line %d: duplicate key id %d", n, id)
		}
		keys[id], newest = key, id
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("it contains no key")
	}
	return New(newest, keys)
}

// parseLine parses one line. Its errors never contain the line, because it is a key.
func parseLine(line string) (byte, []byte, error) {
	name, text, _ := strings.Cut(line, " ")
	id, err := strconv.ParseUint(name, 10, 8)
	if err != nil || id == 0 {
		return 0, nil, errors.New("must begin with a key id from 1 to 255")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != KeySize {
		return 0, nil, fmt.Errorf("must hold %d bytes in base64 after the key id", KeySize)
	}
	return byte(id), key, nil
}

// createFile creates the complete file or none, and never replaces an existing one: a value sealed
// with a lost key can never be opened.
func createFile(path string) error {
	for {
		err := tryCreateFile(path)
		// Another process can take the file for one that a killed start left, until it is locked.
		if !errors.Is(err, errTaken) {
			return err
		}
	}
}

// errTaken means that another process removed the unfinished file.
var errTaken = errors.New("the unfinished key file was removed")

func tryCreateFile(path string) error {
	const comment = "# Opens the secrets in Slipway's database. Keep a copy apart from the database's backups.\n"
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, unfinishedPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // nothing was written, or it is synced
	defer func() { _ = os.Remove(f.Name()) }()
	_ = lock(f) // a file system without locks has none for removeUnfinished either
	if _, err := f.WriteString(comment + newLine(1)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	err = os.Link(f.Name(), path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && isGone(f.Name()):
		return errTaken
	case err != nil && !errors.Is(err, fs.ErrExist):
		return err
	}
	return durable.SyncDir(dir)
}

// unfinishedPrefix begins the name of a key file that is not complete yet. Digits follow.
const unfinishedPrefix = ".key-"

// lock locks a file until it is closed, also by the death of the process. It does not wait.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// removeUnfinished removes the key files that killed processes did not complete. Those of other processes are locked.
// An error is no obstacle: the directory may be read-only.
func removeUnfinished(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry.Name(), unfinishedPrefix)
		if _, err := strconv.ParseUint(digits, 10, 64); !ok || err != nil || !entry.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue
		}
		if lock(f) == nil {
			_ = os.Remove(f.Name())
		}
		_ = f.Close()
	}
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
