package tenanttest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/enginetest"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
	"slipway/plugin/store/storetest"
)

// engines returns the options of an environment by engine.
func engines() map[string]func() localenv.Options {
	return map[string]func() localenv.Options{
		"embedded":   func() localenv.Options { return localenv.Options{} },
		"own":        func() localenv.Options { return localenv.Options{Environment: []string{"SLIPWAY_ENGINE=own"}} },
		"drone":      onDrone,
		"woodpecker": onWoodpecker,
	}
}

// A forge returns the heads of branches to a fake CI, by full name of the repository.
type forge map[string]*bitbuckettest.Repository

func (f forge) head(repository, branch string) string {
	r, ok := f[repository]
	if !ok {
		return ""
	}
	head, err := r.Head(context.Background(), branch)
	if err != nil {
		return ""
	}
	return head
}

// onDrone returns the options for builds on a fake Drone, in its builder repository.
func onDrone() localenv.Options {
	ci, known := &enginetest.CI{}, forge{}
	var server *dronetest.Server
	return localenv.Options{
		NewRepository: func(_ context.Context, r *bitbuckettest.Repository) error {
			known[r.FullName()] = r
			server.AddUnseen(r.FullName())
			return nil
		},
		BeforeGateway: func(ctx context.Context, w *localenv.Env) ([]string, error) {
			r, err := ci.Prepare(ctx, w)
			if err != nil {
				return nil, err
			}
			commit := func(repository, branch, commit string) string {
				if commit != "" {
					return commit
				}
				return known.head(repository, branch)
			}
			server = dronetest.New(dronetest.Options{Commit: commit, Capacity: 4, ConfigWait: time.Second})
			w.OnClose(server.Close)
			known[r.FullName()] = r
			server.AddUnseen(r.FullName())
			address, err := w.Serve(ctx, server)
			return append([]string{
				"SLIPWAY_ENGINE=drone",
				"SLIPWAY_DRONE_SERVER=http://" + address,
				"SLIPWAY_DRONE_REPOSITORY=" + r.FullName(),
				"SLIPWAY_DRONE_TYPE=exec",
				"SLIPWAY_DRONE_TOKEN=" + server.AddUser("slipway").Reveal(),
			}, ci.Settings("SLIPWAY_DRONE_")...), err
		},
		AfterGateway: func(ctx context.Context, w *localenv.Env) error {
			all, err := enginetest.ExtensionSecrets(ctx, w, drone.Name, "config", "secret", "webhook")
			if err != nil {
				return err
			}
			at := func(kind string) dronetest.Extension {
				return dronetest.Extension{URL: w.Gateway.URL + "/extensions/drone/" + kind, Secret: all[kind]}
			}
			server.SetExtensions(dronetest.Extensions{
				Config: at("config"), Secret: at("secret"), Webhook: at("webhook"),
			})
			return nil
		},
	}
}

// onWoodpecker returns the options for builds on a fake Woodpecker, in its builder repository.
func onWoodpecker() localenv.Options {
	ci, known := &enginetest.CI{}, forge{}
	var server *woodpeckertest.Server
	add := func(_ context.Context, r *bitbuckettest.Repository) error {
		known[r.FullName()] = r
		server.AddRepository(r.FullName(), "main")
		return nil
	}
	return localenv.Options{
		NewRepository: add,
		BeforeGateway: func(ctx context.Context, w *localenv.Env) ([]string, error) {
			r, err := ci.Prepare(ctx, w)
			if err != nil {
				return nil, err
			}
			server = woodpeckertest.New(woodpeckertest.Options{
				Program: func(image string) string { return image }, Capacity: 4,
				HasBranch: func(repository, branch string) bool { return known.head(repository, branch) != "" },
			})
			w.OnClose(server.Close)
			if err := add(ctx, r); err != nil {
				return nil, err
			}
			server.Activate(server.Repository(r.FullName()))
			address, err := w.Serve(ctx, server)
			extensions := w.Gateway.URL + "/extensions/woodpecker/"
			server.SetExtensions(extensions+"config", extensions+"secret")
			return append([]string{
				"SLIPWAY_ENGINE=woodpecker", "SLIPWAY_WOODPECKER_SERVER=http://" + address,
				"SLIPWAY_WOODPECKER_REPOSITORY=" + r.FullName(),
				"SLIPWAY_WOODPECKER_TOKEN=" + server.AddUser("slipway").Reveal(),
			}, ci.Settings("SLIPWAY_WOODPECKER_")...), err
		},
	}
}

// onPostgres adds an empty PostgreSQL database and a builder to the options. A gateway on PostgreSQL
// starts no builder.
func onPostgres(t *testing.T, o localenv.Options) localenv.Options {
	t.Helper()
	o.Database = storetest.PostgresAddress(t)
	before := o.BeforeGateway
	o.BeforeGateway = func(ctx context.Context, w *localenv.Env) ([]string, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		address := "unix://" + filepath.Join(w.Dir, "builder.sock")
		_, err = enginetest.StartProcess(w, "shared-builder", self, []string{
			"builder", "--address", address, "--state", filepath.Join(w.Dir, "shared-builder-state"),
			"--socket-group", "64000", "--network", "none",
		}, nil)
		if err != nil || before == nil {
			return []string{"SLIPWAY_BUILDER=" + address}, err
		}
		settings, err := before(ctx, w)
		return append(settings, "SLIPWAY_BUILDER="+address), err
	}
	return o
}

// options returns the options of an environment with an engine and a database.
func options(t *testing.T, engine, database string) localenv.Options {
	t.Helper()
	o := engines()[engine]()
	o.RegistryPassword = secret.New("registry-password-" + engine)
	o.Environment = append(o.Environment, "SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_CONCURRENCY=4")
	if database == "PostgreSQL" {
		return onPostgres(t, o)
	}
	return o
}
