package drone_test

import (
	"context"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/enginetest"
	"slipway/plugin/engine/pipeline"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func TestConformanceInTheBuilderRepository(t *testing.T) { conform(t, "acme/builder") }

func TestConformancePerRepository(t *testing.T) { conform(t, "") }

func conform(t *testing.T, repository string) {
	demotest.RequireTools(t)
	t.Parallel()
	enginetest.Run(t, enginetest.Factory{
		Env:   func(testing.TB) (localenv.Options, *enginetest.CI) { return withFake(repository) },
		Limit: "SLIPWAY_DRONE_CONCURRENCY",
		Alone: alone, Brief: repository == "", Builder: repository != "", Parallel: true,
	})
}

// forge answers the fake Drone's requests to Bitbucket.
type forge map[string]*bitbuckettest.Repository

func (f forge) commit(repository, branch, commit string) string {
	if commit != "" {
		return commit
	}
	head, err := f[repository].Head(context.Background(), branch)
	if err != nil {
		return ""
	}
	return head
}

// withFake returns an environment whose gateway runs all builds on a fake Drone that sends every webhook
// twice.
func withFake(repository string) (localenv.Options, *enginetest.CI) {
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
			server = dronetest.New(
				dronetest.Options{Commit: known.commit, Capacity: 8, ConfigWait: time.Second, Minute: fakeMinute},
			)
			w.OnClose(server.Close)
			server.SendTwice()
			ci.Hold, ci.Release = server.Hold, server.Release
			ci.RestartAgents = func(context.Context) error {
				server.RestartRunner()
				return nil
			}
			known[r.FullName()] = r
			server.AddUnseen(r.FullName())
			address, err := w.Serve(ctx, server)
			if err != nil {
				return nil, err
			}
			origin, err := ci.Connect(ctx, w, "http://"+address)
			controls(ci, "http://"+address, server.AddUser("alice"))
			return append([]string{
				"SLIPWAY_ENGINE=drone", "SLIPWAY_DRONE_SERVER=" + origin,
				"SLIPWAY_DRONE_REPOSITORY=" + repository, "SLIPWAY_DRONE_TYPE=exec",
				"SLIPWAY_DRONE_TOKEN=" + server.AddUser("slipway").Reveal(),
			}, ci.Settings("SLIPWAY_DRONE_")...), err
		},
		AfterGateway: func(ctx context.Context, w *localenv.Env) error {
			all, err := enginetest.ExtensionSecrets(ctx, w, drone.Name, "config", "secret", "webhook")
			if err != nil {
				return err
			}
			server.SetExtensions(extensions(w.Gateway.URL, all))
			return nil
		},
	}, ci
}

func extensions(gateway string, all map[string]secret.Secret) dronetest.Extensions {
	at := func(kind string) dronetest.Extension {
		return dronetest.Extension{URL: gateway + "/extensions/drone/" + kind, Secret: all[kind]}
	}
	return dronetest.Extensions{Config: at("config"), Secret: at("secret"), Webhook: at("webhook")}
}

func alone(t testing.TB, url string) (autobuild.Engine, autobuild.Pipeline) {
	program, err := enginetest.Link(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := newEnv(t, drone.Options{
		Repository: "acme/builder", Type: drone.TypeExec,
		Step: pipeline.Step{URL: func(id string) string { return url + "/" + id }, Image: program},
	})
	e.server.AddRepository("acme/builder", "main")
	return e, e.pipeline(t)
}
