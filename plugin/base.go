package plugin

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/restart"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// A base holds the listener and the store, which all other parts use.
type base struct {
	config   config.Gateway // Data is an absolute path
	listen   func(ctx context.Context, name, address string) (net.Listener, error)
	log      logrus.FieldLogger
	listener net.Listener // of the public address
	store    *store.Store
	reserve  assembly.Reserve // of the disk of the data directory
	closers  *closers
}

// openBase listens, and opens the data directory and the database.
func openBase(ctx context.Context, o Options, c *closers) (base, error) {
	listener, err := listenPublic(ctx, o)
	if err != nil {
		return base{}, err
	}
	c.add(func() { listener.Close() })
	o.Config.Data, err = makeDataDir(o.Config.Data)
	if err != nil {
		return base{}, err
	}
	reserve, err := assembly.DataReserve(o.Config)
	if err != nil {
		return base{}, err
	}
	s, err := openStore(ctx, o, c)
	if err != nil {
		if cause := reserve.Check(); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return base{}, err
	}
	return base{
		config: o.Config, listen: o.listen, log: o.Log, listener: listener, store: s, reserve: reserve, closers: c,
	}, nil
}

func listenPublic(ctx context.Context, o Options) (net.Listener, error) {
	if o.Listener != nil {
		return o.Listener, nil
	}
	l, err := o.listen(ctx, restart.Public, o.Config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on SLIPWAY_LISTEN=%s: %w", o.Config.Listen, err)
	}
	return l, nil
}

// makeDataDir creates the data directory and returns its absolute path.
func makeDataDir(data string) (string, error) {
	// Runners pass through the data directory to their own part of it and can list nothing.
	if err := os.MkdirAll(data, 0o711); err != nil { //nolint:gosec // its files and directories have modes of their own
		return "", fmt.Errorf("create SLIPWAY_DATA: %w", err)
	}
	absolute, err := filepath.Abs(data)
	if err != nil {
		return "", fmt.Errorf("find SLIPWAY_DATA=%s: %w", data, err)
	}
	return absolute, nil
}

// openStore opens the database. At the first start it creates the key, the database and then the
// gateway's name, so that an interrupted first start can be told from a lost database.
func openStore(ctx context.Context, o Options, c *closers) (*store.Store, error) {
	state, err := inspect(ctx, o.Config)
	if err != nil {
		return nil, err
	}
	if err := state.decide(o.Config); err != nil {
		return nil, err
	}
	dir, err := lockDataDir(o.Config.Data)
	if err != nil {
		return nil, err
	}
	c.add(dir.close)
	sealer, err := seal.LoadOrCreate(o.Config.Key, !state.installed)
	if err != nil {
		return nil, err
	}
	options := assembly.Database(o.Config)
	options.Gateway = dir.name
	options.Sealer = sealer
	options.Log = o.Log
	options.Commit = o.Commit
	options.Skew = o.Skew
	s, err := store.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	c.add(func() {
		if err := s.Close(); err != nil {
			o.Log.WithError(err).Error("close the database")
		}
	})
	if err := dir.saveName(); err != nil {
		return nil, fmt.Errorf("save the gateway's name: %w", err)
	}
	return s, nil
}

// seedProvider stores the source provider of the settings. Later changes of the settings replace
// the values of the setup page.
func seedProvider(ctx context.Context, b base) error {
	all, err := b.store.Providers(ctx)
	if err != nil {
		return fmt.Errorf("list source providers: %w", err)
	}
	p := autobuild.Provider{Kind: autobuild.Cloud}
	for _, stored := range all {
		if stored.Name == b.config.ProviderName {
			p = stored
		}
	}
	p.Name, p.WebURL, p.APIURL = b.config.ProviderName, b.config.WebURL, b.config.APIURL
	if b.config.ClientID != "" {
		p.ClientID, p.ClientSecret = b.config.ClientID, b.config.ClientSecret
	}
	if _, err := b.store.SaveProvider(ctx, p); err != nil {
		return fmt.Errorf("save source provider %s: %w", p.Name, err)
	}
	return nil
}

// runnerURL returns the address of the gateway for runners on this machine. They do not need the
// public URL.
func (b base) runnerURL() string {
	addr, ok := b.listener.Addr().(*net.TCPAddr)
	if !ok {
		return b.config.URL
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// closers are the functions that release the opened files, listeners and processes.
type closers struct{ all []func() }

func (c *closers) add(f func()) { c.all = append(c.all, f) }

// close calls the functions, newest first, and forgets them.
func (c *closers) close() {
	for i := len(c.all) - 1; i >= 0; i-- {
		c.all[i]()
	}
	c.all = nil
}
