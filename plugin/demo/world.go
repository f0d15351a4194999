package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/secret"
	"slipway/plugin"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/sample"
)

// A world is everything that the demo runs on, on this machine: a Bitbucket, a registry, a
// builder where the gateway cannot start one, and the gateway.
type world struct {
	dir       string
	registry  string // host:port
	bitbucket *bitbuckettest.Server
	alice     *bitbuckettest.User
	password  secret.Secret
	app       *bitbuckettest.Repository
	gateway   *plugin.Gateway
	url       string // of the gateway
	stopped   chan error

	close []func()
}

// newWorld starts the world. Everything is below one temporary directory and gone at Close.
func newWorld(ctx context.Context, executable string, tell *teller) (*world, error) {
	w := &world{password: secret.New(rand.Text()), stopped: make(chan error, 1)}
	for _, step := range []struct {
		station string
		do      func(context.Context) error
	}{
		{"directory", w.makeDir},
		{"registry", func(ctx context.Context) error { return w.startRegistry(ctx, executable) }},
		{"bitbucket", w.startBitbucket},
		{"gateway", func(ctx context.Context) error { return w.startGateway(ctx, executable, tell) }},
	} {
		if err := step.do(ctx); err != nil {
			w.Close()
			return nil, at(step.station, err)
		}
	}
	return w, nil
}

// Close stops everything, newest first.
func (w *world) Close() {
	for i := len(w.close) - 1; i >= 0; i-- {
		w.close[i]()
	}
	w.close = nil
}

func (w *world) makeDir(context.Context) error {
	dir, err := os.MkdirTemp("", "slipway-demo-")
	if err != nil {
		return err
	}
	w.dir = dir
	w.close = append(w.close, func() { _ = os.RemoveAll(dir) }) // a temporary directory that stays harms nobody
	return os.Chmod(dir, 0o711)                                 //nolint:gosec // runners with users of their own pass through it
}

func (w *world) startRegistry(ctx context.Context, executable string) error {
	addr, err := w.serve(ctx, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	if err != nil {
		return err
	}
	w.registry = addr
	return sample.Seed(ctx, w.registry, executable)
}

func (w *world) startBitbucket(ctx context.Context) error {
	var err error
	w.bitbucket, err = bitbuckettest.New(bitbuckettest.Options{Root: filepath.Join(w.dir, "bitbucket"), AllowPrivateHooks: true})
	if err != nil {
		return err
	}
	w.close = append(w.close, w.bitbucket.Close)
	addr, err := w.serve(ctx, w.bitbucket)
	if err != nil {
		return err
	}
	w.bitbucket.SetURL("http://" + addr)
	w.alice = w.bitbucket.AddUser("alice")
	w.alice.SetPassword(w.password)
	w.alice.SetGitPassword(w.password)
	acme := w.bitbucket.AddWorkspace("acme", w.alice)
	w.app, err = w.bitbucket.AddRepository(acme, "app", bitbuckettest.Private)
	return err
}

func (w *world) startGateway(ctx context.Context, executable string, tell *teller) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.url = "http://" + listener.Addr().String()
	key, clientSecret := w.bitbucket.AddConsumer(w.url+"/oauth/bitbucket/callback", []string{"account", "repository", "webhook"})
	builder, err := w.builderAddress(ctx, executable, tell)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	c, err := config.LoadGateway([]string{
		"SLIPWAY_URL=" + w.url, "SLIPWAY_DATA=" + filepath.Join(w.dir, "gateway"),
		"SLIPWAY_BITBUCKET_URL=" + w.bitbucket.URL(), "SLIPWAY_BITBUCKET_API_URL=" + w.bitbucket.URL(),
		"SLIPWAY_BITBUCKET_CLIENT_ID=" + key, "SLIPWAY_BITBUCKET_CLIENT_SECRET=" + clientSecret.Reveal(),
		"SLIPWAY_BUILDER=" + builder,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	log, closeLog, err := w.gatewayLog()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	w.gateway, err = plugin.New(ctx, plugin.Options{Config: c, Listener: listener, Log: log})
	if err != nil {
		closeLog()
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { w.stopped <- w.gateway.Run(run) }()
	w.close = append(w.close, func() {
		stop()
		<-w.stopped
		closeLog()
	})
	return nil
}

// gatewayLog keeps the gateway's log out of the demo's lines, in a file.
func (w *world) gatewayLog() (logrus.FieldLogger, func(), error) {
	f, err := os.OpenFile(filepath.Join(w.dir, "gateway.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	log := logrus.New()
	log.SetOutput(f)
	log.SetFormatter(&logrus.JSONFormatter{})
	return log, func() { f.Close() }, nil
}

// serve serves a handler on a free port of loopback until Close, and returns its address.
func (w *world) serve(ctx context.Context, h http.Handler) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen on loopback: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with ErrServerClosed at Close
	w.close = append(w.close, func() { server.Close() })
	return listener.Addr().String(), nil
}
