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

// gatewayName is what stands in the file of a name.
const gatewayName = `^[a-z0-9]{26}\n$`

// takeName takes the name that the gateway of a data directory has among those of its database.
// It is made at the first start and stays, so that a restart takes up at once what was under
// way; release it when the gateway has ended. A directory whose gateway runs is refused.
func takeName(data string) (name string, release func(), err error) {
	path := filepath.Join(data, "gateway")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", nil, err
	}
	release = func() { _ = f.Close() } // which unlocks it
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf(
			"SLIPWAY_DATA=%s: another gateway runs there: stop it, or give this one a directory of its own",
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

// readName reads the name, or makes it. What a crash left half written is made anew.
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
