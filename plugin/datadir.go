package plugin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// gatewayName is the pattern of the file that holds the gateway's name.
const gatewayName = `^[a-z0-9]{26}\n$`

// lockDataDir locks a data directory and returns the name of its gateway among the gateways of the
// database. The first start creates the name. It stays the same, so that a gateway continues its
// work immediately after a restart. Call release when the gateway has ended. lockDataDir returns an
// error if another gateway has the lock.
func lockDataDir(data string) (name string, release func(), err error) {
	path := filepath.Join(data, "gateway")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", nil, err
	}
	release = func() { _ = f.Close() } // this also unlocks the file
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf(
			"SLIPWAY_DATA=%s: another gateway uses this directory: stop it, or set another directory",
			data,
		)
	}
	if err == nil {
		name, err = readName(f)
	}
	if err != nil {
		release()
		return "", nil, err
	}
	return name, release, nil
}

// readName reads the name, or creates it. It replaces a name that a crash left incomplete.
func readName(f *os.File) (string, error) {
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return "", err
	}
	if regexp.MustCompile(gatewayName).Match(text) {
		return strings.TrimSpace(string(text)), nil
	}
	name := strings.ToLower(rand.Text())
	if err := f.Truncate(0); err != nil {
		return "", err
	}
	if _, err := f.WriteAt([]byte(name+"\n"), 0); err != nil {
		return "", err
	}
	return name, f.Sync()
}
