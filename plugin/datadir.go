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

	"slipway/config/durable"
)

// gatewayFile is the name of the file that holds the gateway's name. It is locked while the gateway
// runs. From the first start until saveName it is empty.
const gatewayFile = "gateway"

// gatewayName is the pattern of the file that holds the gateway's name.
const gatewayName = `^[a-z0-9]{26}\n$`

// A dataDir is the locked data directory of a gateway. It holds the name of the gateway among the
// gateways of the database. The name stays the same, so that a gateway continues its work
// immediately after a restart.
type dataDir struct {
	file *os.File
	name string
}

// lockDataDir locks a data directory. It returns an error if another gateway has the lock. The caller
// must call close when the gateway has ended.
func lockDataDir(data string) (dataDir, error) {
	f, err := os.OpenFile(filepath.Join(data, gatewayFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return dataDir{}, err
	}
	d := dataDir{file: f}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf(
			"SLIPWAY_DATA=%s: another gateway uses this directory: stop it, or set another directory",
			data,
		)
	}
	if err == nil {
		d.name, err = readName(f)
	}
	if err != nil {
		d.close()
		return dataDir{}, err
	}
	return d, nil
}

// close also unlocks the directory.
func (d dataDir) close() { _ = d.file.Close() }

// readName reads the name, or makes a new one if the file has none. A crash can leave it incomplete.
func readName(f *os.File) (string, error) {
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return "", err
	}
	if regexp.MustCompile(gatewayName).Match(text) {
		return strings.TrimSpace(string(text)), nil
	}
	return strings.ToLower(rand.Text()), nil
}

// saveName stores the name, unless it is stored. Its file then shows that the first start is complete.
func (d dataDir) saveName() error {
	want := d.name + "\n"
	got := make([]byte, len(want))
	if _, err := d.file.ReadAt(got, 0); err == nil && string(got) == want {
		return nil
	}
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	if _, err := d.file.WriteAt([]byte(want), 0); err != nil {
		return err
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(d.file.Name()))
}
