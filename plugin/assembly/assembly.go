// Package assembly constructs the parts that both the gateway and the commands beside it use: the
// database, and the engines on CI servers.
package assembly

import (
	"context"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/plugin/accounts"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// Executable is the path of this program's own file. It works for every user, and after an upgrade
// replaced the file.
const Executable = "/proc/self/exe"

// Database returns the store options that locate the database of an installation.
func Database(c config.Gateway) store.Options {
	return store.Options{
		Path: filepath.Join(c.Data, "slipway.db"), Postgres: c.Database, Program: config.Version,
	}
}

// OpenReadOnly opens the database beside a running or stopped gateway, for a command that only
// reads. It fails if the database or its key does not exist.
func OpenReadOnly(ctx context.Context, c config.Gateway) (*store.Store, error) {
	o, err := existing(c)
	if err != nil {
		return nil, err
	}
	return store.OpenReadOnly(ctx, o)
}

// OpenBeside opens the database beside a running or stopped gateway, for a command that writes. It
// fails if the database or its key does not exist.
func OpenBeside(ctx context.Context, c config.Gateway) (*store.Store, error) {
	o, err := existing(c)
	if err != nil {
		return nil, err
	}
	return store.OpenBeside(ctx, o)
}

// existing returns the options of a database that a gateway created, with its key.
func existing(c config.Gateway) (store.Options, error) {
	sealer, err := seal.LoadOrCreate(c.Key, false)
	if err != nil {
		return store.Options{}, err
	}
	o := Database(c)
	o.Sealer = sealer
	return o, nil
}

// Accounts returns the linked accounts of an installation.
func Accounts(c config.Gateway, s *store.Store, log logrus.FieldLogger) *accounts.Accounts {
	return accounts.New(accounts.Options{Store: s, URL: c.URL, Log: log})
}
