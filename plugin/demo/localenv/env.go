// Package localenv runs a complete environment on this machine: a Bitbucket, a registry with a
// base image, and a gateway with its builder. It also has a browser and git checkouts to use them
// as a person does. `slipway demo` and the end-to-end tests use it.
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

	"slipway/config/loopback"
	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/sample"
)

// Options configure an Env.
type Options struct {
	// Executable is the path of the slipway binary, which is copied into the base image. If it is
	// empty, this program is used, and the base image has no copy, which makes it smaller.
	Executable string
	// Child runs the gateway as a child process, which tests can kill.
	Child bool
	// GatewayUser is the uid and gid of the gateway. It requires Child, root, and that Executable is empty
	// or this program. 0 means this process's user.
	GatewayUser int
	// Builder is the address of a builder. If it is empty, the gateway starts one.
	Builder string
	// Database is the address of an empty PostgreSQL database for the gateway. It requires Builder.
	// Zero means SQLite.
	Database secret.Secret
	// Wrap wraps the Bitbucket's handler, e.g. to inject faults. It may be nil.
	Wrap func(http.Handler) http.Handler
	// WrapRegistry wraps the registry's handler, e.g. to count requests. It may be nil.
	WrapRegistry func(http.Handler) http.Handler
	// RegistryPassword is the password of RegistryUser at the registry. Zero means that the registry
	// needs no login.
	RegistryPassword secret.Secret
	// PublicHooksOnly makes the Bitbucket reject webhook URLs with a private address, as the real one
	// does.
	PublicHooksOnly bool
	// Environment holds further settings of the gateway, as NAME=value.
	Environment []string
	// BeforeGateway is called before the gateway starts, when everything else is up and the gateway's
	// URL is known. It returns further settings of the gateway. It may be nil.
	BeforeGateway func(ctx context.Context, env *Env) (settings []string, err error)
	// AfterGateway is called when the gateway is up. It may be nil.
	AfterGateway func(ctx context.Context, env *Env) error
	// NewRepository is called for the repository of each new project, after its first push. It may
	// be nil.
	NewRepository func(ctx context.Context, r *bitbuckettest.Repository) error
}

// An Env is a running environment. It runs until Close.
type Env struct {
	Dir       string
	Registry  string // host:port, plain HTTP
	Bitbucket *bitbuckettest.Server
	Alice     *bitbuckettest.User // administrator of the workspace acme; her password is Password
	Password  secret.Secret
	App       *bitbuckettest.Repository // acme/app, private and empty
	Gateway   *Gateway
	ClientID  string        // of the gateway's OAuth consumer
	Client    secret.Secret // secret of the OAuth consumer

	options Options
	close   []func()
}

// A StationError is an error with the station where it occurred, e.g. "registry".
type StationError struct {
	Station string
	Err     error
}

func (e *StationError) Error() string { return e.Station + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StationError) Unwrap() error { return e.Err }

// At wraps err in a StationError. It returns nil if err is nil.
func At(station string, err error) error {
	if err == nil {
		return nil
	}
	return &StationError{Station: station, Err: err}
}

// Start starts an environment. Its files are in one temporary directory, which Close removes.
func Start(ctx context.Context, o Options) (*Env, error) {
	env := &Env{Password: secret.New(rand.Text()), options: o}
	for _, step := range []struct {
		station string
		do      func(context.Context) error
	}{
		{"directory", env.makeDir},
		{"registry", env.startRegistry},
		{"bitbucket", env.startBitbucket},
		{"gateway", env.startGateway},
	} {
		if err := step.do(ctx); err != nil {
			env.Close()
			return nil, At(step.station, err)
		}
	}
	return env, nil
}

// Close stops everything in reverse order of its start.
func (env *Env) Close() {
	for i := len(env.close) - 1; i >= 0; i-- {
		env.close[i]()
	}
	env.close = nil
}

// RegistryPassword returns the password of RegistryUser. Zero means that the registry needs no login.
func (env *Env) RegistryPassword() secret.Secret { return env.options.RegistryPassword }

// Image returns the image name of the sample's automated build, without a tag.
func (env *Env) Image() string { return env.Registry + "/acme/app" }

// Checkout returns an empty checkout of the sample repository, with Alice's credentials.
func (env *Env) Checkout(ctx context.Context) (*Checkout, error) { return env.checkout(ctx, env.App) }

func (env *Env) makeDir(context.Context) error {
	dir, err := os.MkdirTemp("", "slipway-")
	if err != nil {
		return err
	}
	env.Dir = dir
	env.close = append(env.close, func() { _ = os.RemoveAll(dir) }) // best effort: it is a temporary directory
	//nolint:gosec // runners with users of their own pass through the directory
	return os.Chmod(dir, 0o711)
}

func (env *Env) startRegistry(ctx context.Context) error {
	handler := env.guardRegistry(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	if env.options.WrapRegistry != nil {
		handler = env.options.WrapRegistry(handler)
	}
	addr, err := env.Serve(ctx, handler)
	if err != nil {
		return err
	}
	env.Registry = addr
	return sample.Seed(ctx, env.Registry, env.options.Executable)
}

func (env *Env) startBitbucket(ctx context.Context) error {
	server, err := bitbuckettest.New(bitbuckettest.Options{
		Root:              filepath.Join(env.Dir, "bitbucket"),
		AllowPrivateHooks: !env.options.PublicHooksOnly,
	})
	if err != nil {
		return err
	}
	env.Bitbucket = server
	env.close = append(env.close, env.Bitbucket.Close)
	var handler http.Handler = env.Bitbucket
	if env.options.Wrap != nil {
		handler = env.options.Wrap(handler)
	}
	addr, err := env.Serve(ctx, handler)
	if err != nil {
		return err
	}
	env.Bitbucket.SetURL("http://" + addr)
	env.Alice = env.Bitbucket.AddUser("alice")
	env.Alice.SetPassword(env.Password)
	env.Alice.SetGitPassword(env.Password)
	acme := env.Bitbucket.AddWorkspace("acme", env.Alice)
	env.App, err = env.Bitbucket.AddRepository(acme, "app", bitbuckettest.Private)
	return err
}

func (env *Env) startGateway(ctx context.Context) error {
	addr, err := loopback.FreeAddress(ctx)
	if err != nil {
		return err
	}
	executable := env.options.Executable
	if executable == "" {
		if executable, err = os.Executable(); err != nil {
			return err
		}
	}
	url := "http://" + addr
	callback := url + "/oauth/bitbucket/callback"
	consumer, err := env.Bitbucket.AddConsumer(env.App.Workspace, callback, "account", "repository", "webhook")
	if err != nil {
		return err
	}
	env.ClientID, env.Client = consumer.Key, consumer.Secret
	env.Gateway = &Gateway{
		URL: url, Data: filepath.Join(env.Dir, "gateway"), executable: executable, child: env.options.Child,
		user:    env.options.GatewayUser,
		logFile: filepath.Join(env.Dir, "gateway.log"), database: env.options.Database,
	}
	env.Gateway.environment = append([]string{
		"SLIPWAY_URL=" + url, "SLIPWAY_LISTEN=" + addr, "SLIPWAY_DATA=" + env.Gateway.Data,
		"SLIPWAY_BITBUCKET_URL=" + env.Bitbucket.URL(), "SLIPWAY_BITBUCKET_API_URL=" + env.Bitbucket.URL(),
		"SLIPWAY_BITBUCKET_CLIENT_ID=" + consumer.Key, "SLIPWAY_BITBUCKET_CLIENT_SECRET=" + consumer.Secret.Reveal(),
		"SLIPWAY_BUILDER=" + env.options.Builder, "SLIPWAY_BUILDER_LOCAL_REGISTRIES=" + env.Registry,
		// The images are small, and several environments may share a machine with little space.
		"SLIPWAY_BUILD_DISK=1GB", "SLIPWAY_BUILDER_DISK=2GB",
		"SLIPWAY_DATABASE=" + env.options.Database.Reveal(), "SLIPWAY_KEY_FILE=" + env.Gateway.key(),
	}, env.options.Environment...)
	if err := env.Gateway.giveData(); err != nil {
		return err
	}
	if env.options.BeforeGateway != nil {
		settings, err := env.options.BeforeGateway(ctx, env)
		if err != nil {
			return err
		}
		env.Gateway.environment = append(env.Gateway.environment, settings...)
	}
	env.close = append(env.close, env.Gateway.Stop)
	if err := env.Gateway.Start(ctx); err != nil || env.options.AfterGateway == nil {
		return err
	}
	return env.options.AfterGateway(ctx, env)
}

// FurtherGateway starts another gateway on the same database and with the same public URL. It has
// an address and a data directory of its own.
func (env *Env) FurtherGateway(ctx context.Context) (*Gateway, error) {
	addr, err := loopback.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	g := *env.Gateway
	g.URL, g.Data, g.logFile = "http://"+addr, env.Gateway.Data+"-2", env.Gateway.logFile+"-2"
	// If a name occurs twice, the last value applies.
	g.environment = append(slices.Clone(g.environment), "SLIPWAY_LISTEN="+addr, "SLIPWAY_DATA="+g.Data)
	if err := g.Start(ctx); err != nil {
		return nil, err
	}
	env.close = append(env.close, g.Stop)
	return &g, nil
}

// OnClose registers a function that Close calls, after those that were registered later.
func (env *Env) OnClose(stop func()) { env.close = append(env.close, stop) }

// Serve serves a handler on a free loopback port until Close. It returns the address as host:port.
func (env *Env) Serve(ctx context.Context, h http.Handler) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // returns ErrServerClosed at Close
	env.close = append(env.close, func() { server.Close() })
	return listener.Addr().String(), nil
}
