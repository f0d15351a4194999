// Package localenv is everything that a push goes through, on this machine: a Bitbucket, a
// registry with a base image, a gateway with its builder, a person with a browser and a
// person with git. The demo shows it; tests of the whole run in it.
package localenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/sample"
)

// Options make a Env.
type Options struct {
	// Executable is the slipway binary. It goes into the base image. Empty = this program, and
	// the base image goes without, which is smaller.
	Executable string
	// Child runs the gateway as a process of its own, which may be killed.
	Child bool
	// Builder is the address of a builder; empty = the gateway starts its own.
	Builder string
	// Database is the address of an empty PostgreSQL database for the gateway, which needs
	// Builder then; zero = SQLite.
	Database secret.Secret
	// Wrap stands before the Bitbucket, to make it misbehave; nil = nothing does.
	Wrap func(http.Handler) http.Handler
	// RegistryPassword is what the registry asks of RegistryUser; zero = it is open to all.
	RegistryPassword secret.Secret
	// PublicHooksOnly makes the Bitbucket refuse webhook addresses that only this machine
	// reaches, as the real one does.
	PublicHooksOnly bool
	// Environment holds further settings of the gateway, as NAME=value.
	Environment []string
	// BeforeGateway is called when everything but the gateway is up, and its address is known.
	// What it returns are further settings; nil = none.
	BeforeGateway func(ctx context.Context, w *Env) (settings []string, err error)
	// AfterGateway is called when the gateway is up.
	AfterGateway func(ctx context.Context, w *Env) error
	// NewRepository is told of each project's repository once it has a branch; nil = nobody is.
	NewRepository func(ctx context.Context, r *bitbuckettest.Repository) error
}

// A Env runs until Close.
type Env struct {
	Dir       string
	Registry  string // host:port, plain HTTP
	Bitbucket *bitbuckettest.Server
	Alice     *bitbuckettest.User // owner of everything; Password logs her in
	Password  secret.Secret
	App       *bitbuckettest.Repository // acme/app, private and empty
	Gateway   *Gateway
	ClientID  string        // of the OAuth consumer that the gateway is
	Client    secret.Secret // that consumer's

	options Options
	close   []func()
}

// A StationError says at which station something failed.
type StationError struct {
	Station string
	Err     error
}

func (e *StationError) Error() string { return e.Station + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StationError) Unwrap() error { return e.Err }

// At wraps err with the station where it happened; nil stays nil.
func At(station string, err error) error {
	if err == nil {
		return nil
	}
	return &StationError{Station: station, Err: err}
}

// Start starts an environment. Everything of it is below one temporary directory and gone at Close.
func Start(ctx context.Context, o Options) (*Env, error) {
	w := &Env{Password: secret.New(rand.Text()), options: o}
	for _, step := range []struct {
		station string
		do      func(context.Context) error
	}{
		{"directory", w.makeDir}, {"registry", w.startRegistry}, {"bitbucket", w.startBitbucket}, {"gateway", w.startGateway},
	} {
		if err := step.do(ctx); err != nil {
			w.Close()
			return nil, At(step.station, err)
		}
	}
	return w, nil
}

// Close stops everything, newest first.
func (w *Env) Close() {
	for i := len(w.close) - 1; i >= 0; i-- {
		w.close[i]()
	}
	w.close = nil
}

// RegistryPassword is what the registry asks of RegistryUser; zero = nothing.
func (w *Env) RegistryPassword() secret.Secret { return w.options.RegistryPassword }

// Image is the name that the sample's automated build pushes to.
func (w *Env) Image() string { return w.Registry + "/acme/app" }

// Checkout returns a clone of the sample repository with nothing in it, Alice's.
func (w *Env) Checkout(ctx context.Context) (*Checkout, error) { return w.checkout(ctx, w.App) }

func (w *Env) makeDir(context.Context) error {
	dir, err := os.MkdirTemp("", "slipway-")
	if err != nil {
		return err
	}
	w.Dir = dir
	w.close = append(w.close, func() { _ = os.RemoveAll(dir) }) // a temporary directory that stays harms nobody
	return os.Chmod(
		dir,
		0o711,
	) //nolint:gosec // runners with users of their own pass through it
}

func (w *Env) startRegistry(ctx context.Context) error {
	addr, err := w.serve(ctx, w.guardRegistry(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	if err != nil {
		return err
	}
	w.Registry = addr
	return sample.Seed(ctx, w.Registry, w.options.Executable)
}

func (w *Env) startBitbucket(ctx context.Context) error {
	var err error
	w.Bitbucket, err = bitbuckettest.New(
		bitbuckettest.Options{Root: filepath.Join(w.Dir, "bitbucket"), AllowPrivateHooks: !w.options.PublicHooksOnly},
	)
	if err != nil {
		return err
	}
	w.close = append(w.close, w.Bitbucket.Close)
	var handler http.Handler = w.Bitbucket
	if w.options.Wrap != nil {
		handler = w.options.Wrap(handler)
	}
	addr, err := w.serve(ctx, handler)
	if err != nil {
		return err
	}
	w.Bitbucket.SetURL("http://" + addr)
	w.Alice = w.Bitbucket.AddUser("alice")
	w.Alice.SetPassword(w.Password)
	w.Alice.SetGitPassword(w.Password)
	acme := w.Bitbucket.AddWorkspace("acme", w.Alice)
	w.App, err = w.Bitbucket.AddRepository(acme, "app", bitbuckettest.Private)
	return err
}

func (w *Env) startGateway(ctx context.Context) error {
	addr, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	executable := w.options.Executable
	if executable == "" {
		if executable, err = os.Executable(); err != nil {
			return err
		}
	}
	url := "http://" + addr
	consumer, err := w.Bitbucket.AddConsumer(
		w.App.Workspace,
		url+"/oauth/bitbucket/callback",
		"account",
		"repository",
		"webhook",
	)
	if err != nil {
		return err
	}
	w.ClientID, w.Client = consumer.Key, consumer.Secret
	w.Gateway = &Gateway{
		URL: url, Data: filepath.Join(w.Dir, "gateway"), executable: executable, child: w.options.Child,
		logFile: filepath.Join(w.Dir, "gateway.log"), database: w.options.Database,
	}
	w.Gateway.environment = append([]string{
		"SLIPWAY_URL=" + url, "SLIPWAY_LISTEN=" + addr, "SLIPWAY_DATA=" + w.Gateway.Data,
		"SLIPWAY_BITBUCKET_URL=" + w.Bitbucket.URL(), "SLIPWAY_BITBUCKET_API_URL=" + w.Bitbucket.URL(),
		"SLIPWAY_BITBUCKET_CLIENT_ID=" + consumer.Key, "SLIPWAY_BITBUCKET_CLIENT_SECRET=" + consumer.Secret.Reveal(),
		"SLIPWAY_BUILDER=" + w.options.Builder,
		"SLIPWAY_DATABASE=" + w.options.Database.Reveal(), "SLIPWAY_KEY_FILE=" + w.Gateway.key(),
	}, w.options.Environment...)
	if w.options.BeforeGateway != nil {
		settings, err := w.options.BeforeGateway(ctx, w)
		if err != nil {
			return err
		}
		w.Gateway.environment = append(w.Gateway.environment, settings...)
	}
	w.close = append(w.close, w.Gateway.Stop)
	if err := w.Gateway.Start(ctx); err != nil || w.options.AfterGateway == nil {
		return err
	}
	return w.options.AfterGateway(ctx, w)
}

// FurtherGateway starts another gateway of the installation, on the same database and with the
// same public URL. It has its own address and data.
func (w *Env) FurtherGateway(ctx context.Context) (*Gateway, error) {
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	g := *w.Gateway
	g.URL, g.Data, g.logFile = "http://"+addr, w.Gateway.Data+"-2", w.Gateway.logFile+"-2"
	g.environment = append(
		slices.Clone(g.environment),
		"SLIPWAY_LISTEN="+addr,
		"SLIPWAY_DATA="+g.Data,
	) // the last of a name counts
	if err := g.Start(ctx); err != nil {
		return nil, err
	}
	w.close = append(w.close, g.Stop)
	return &g, nil
}

// OnClose has something stopped at Close, after everything that was started later.
func (w *Env) OnClose(stop func()) { w.close = append(w.close, stop) }

// Serve serves a handler on a free port of loopback until Close, and returns its address.
func (w *Env) Serve(ctx context.Context, h http.Handler) (string, error) { return w.serve(ctx, h) }

// serve serves a handler on a free port of loopback until Close, and returns its address.
func (w *Env) serve(ctx context.Context, h http.Handler) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with ErrServerClosed at Close
	w.close = append(w.close, func() { server.Close() })
	return listener.Addr().String(), nil
}

// freeAddress finds an address for the gateway, which must come back to it after a restart.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
