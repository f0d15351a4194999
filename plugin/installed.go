package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"slipway/config"
	"slipway/plugin/assembly"
	"slipway/plugin/store"
)

// An installation is what a gateway finds at its start.
type installation struct {
	installed bool     // the database holds an installation
	hasKey    bool     // the key file exists
	remains   []string // paths in the data directory that a completed start leaves there
}

// inspect finds the state of the installation. It writes nothing.
func inspect(ctx context.Context, c config.Gateway) (s installation, err error) {
	if s.installed, err = store.Installed(ctx, assembly.Database(c)); err != nil {
		return installation{}, err
	}
	if _, s.hasKey, err = sizeOf(c.Key); err != nil {
		return installation{}, fmt.Errorf("SLIPWAY_KEY_FILE: %w", err)
	}
	if s.remains, err = remains(c); err != nil {
		return installation{}, fmt.Errorf("SLIPWAY_DATA: %w", err)
	}
	return s, nil
}

// remains lists the files in the data directory that the first start of a gateway leaves there. A key
// file counts unless a first start created it and was interrupted: then the gateway's name is empty.
func remains(c config.Gateway) (found []string, err error) {
	name := filepath.Join(c.Data, gatewayFile)
	nameSize, started, err := sizeOf(name)
	if err != nil {
		return nil, err
	}
	if nameSize > 0 {
		found = append(found, name)
	}
	key, err := filepath.Abs(c.Key)
	if err != nil {
		return nil, err
	}
	if filepath.Dir(key) == filepath.Clean(c.Data) && (!started || nameSize > 0) {
		_, exists, err := sizeOf(key)
		if err != nil {
			return nil, err
		}
		if exists {
			found = append(found, key)
		}
	}
	logs := filepath.Join(c.Data, "logs")
	if entries, err := os.ReadDir(logs); err == nil && len(entries) > 0 {
		found = append(found, logs)
	}
	if !c.Database.IsZero() {
		file := assembly.Database(c).Path
		if size, _, err := sizeOf(file); err != nil || size > 0 {
			found = append(found, file)
		}
	}
	return found, nil
}

// sizeOf returns the size of a file, and whether it exists.
func sizeOf(path string) (size int64, exists bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return info.Size(), true, nil
}

// decide returns an error unless a gateway may start: with its database and key, or as a new
// installation in a data directory without remains of another one.
func (s installation) decide(c config.Gateway) error {
	switch {
	case s.installed && !s.hasKey:
		return fmt.Errorf("SLIPWAY_KEY_FILE=%s does not exist, and the database has secrets that need it: "+
			"put the key file back: docs/operations.md#the-key-file-is-missing-or-wrong", c.Key)
	case s.installed || len(s.remains) == 0:
		return nil
	}
	problem := fmt.Sprintf("the database %s has no installation", assembly.Database(c).Path)
	check := "check SLIPWAY_DATA, and SLIPWAY_DATABASE if it was set"
	if !c.Database.IsZero() {
		problem = "the database of SLIPWAY_DATABASE has no installation"
		check = "check its name and its search_path"
	}
	return fmt.Errorf("%s, but an earlier one left %s: %s, or restore a backup. "+
		"For a new installation, move these files out of %s: docs/operations.md#the-database-file-is-gone",
		problem, strings.Join(s.remains, ", "), check, c.Data)
}
