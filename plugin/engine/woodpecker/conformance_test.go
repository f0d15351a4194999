package woodpecker_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"slipway/config/discard"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/engine/enginetest"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func TestConformanceInTheBuilderRepository(t *testing.T) { conform(t, "acme/builder") }

func TestConformancePerRepository(t *testing.T) { conform(t, "") }

func conform(t *testing.T, repository string) {
	demotest.RequireTools(t)
	t.Parallel()
	enginetest.Run(t, enginetest.Factory{
		Env:   func(testing.TB) (localenv.Options, *enginetest.CI) { return withFake(repository) },
		Limit: "SLIPWAY_WOODPECKER_CONCURRENCY",
		Alone: alone, Brief: repository == "", Builder: repository != "", Parallel: true,
	})
}

// withFake returns an environment whose gateway runs all builds on a fake Woodpecker.
func withFake(repository string) (localenv.Options, *enginetest.CI) {
	ci, known := &enginetest.CI{}, map[string]*bitbuckettest.Repository{}
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
				Program: func(image string) string { return image }, Capacity: 8, Minute: fakeMinute,
				HasBranch: func(repository, branch string) bool {
					head, err := known[repository].Head(
						context.WithoutCancel(ctx), branch,
					) // the environment outlives the ctx that opens it
					return err == nil && head != ""
				},
			})
			w.OnClose(server.Close)
			ci.Hold, ci.Release = server.Hold, server.Release
			ci.RestartAgents = func(context.Context) error {
				server.RestartAgent()
				return nil
			}
			if err := add(ctx, r); err != nil {
				return nil, err
			}
			server.Activate(server.Repository(r.FullName()))
			address, err := w.Serve(ctx, server)
			if err != nil {
				return nil, err
			}
			origin, err := ci.Connect(ctx, w, "http://"+address)
			if repository == "" { // otherwise the gateway sets them on the builder repository
				server.SetExtensions(
					w.Gateway.URL+"/extensions/woodpecker/config", w.Gateway.URL+"/extensions/woodpecker/secret",
				)
			}
			controls(ci, "http://"+address, server.AddUser("alice"))
			return append([]string{
				"SLIPWAY_ENGINE=woodpecker", "SLIPWAY_WOODPECKER_SERVER=" + origin,
				"SLIPWAY_WOODPECKER_REPOSITORY=" + repository,
				"SLIPWAY_WOODPECKER_TOKEN=" + server.AddUser("slipway").Reveal(),
			}, ci.Settings("SLIPWAY_WOODPECKER_")...), err
		},
	}, ci
}

// alone returns an engine whose gateway consists of a store only.
func alone(t testing.TB, url string) (autobuild.Engine, autobuild.Pipeline) {
	program, err := enginetest.Link(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := woodpeckertest.New(woodpeckertest.Options{
		Program:   func(image string) string { return image },
		HasBranch: func(_, branch string) bool { return branch == "main" },
	})
	t.Cleanup(server.Close)
	server.Activate(server.AddRepository("acme/builder", "main"))
	api := httptest.NewServer(server)
	t.Cleanup(api.Close)
	log := discard.Logger()
	store := storetest.Open(t)
	engine := woodpecker.New(woodpecker.Options{
		Server: api.URL, Token: server.AddUser("slipway"), Repository: "acme/builder", Handovers: store, Log: log,
		Step: pipeline.Step{URL: func(id string) string { return url + "/" + id }, Image: program},
	})
	gateway := httptest.NewServer(engine.Handler())
	t.Cleanup(gateway.Close)
	server.SetExtensions(gateway.URL+"/extensions/woodpecker/config", gateway.URL+"/extensions/woodpecker/secret")
	e, _ := storetest.Started(
		t, store, storetest.AutomatedBuild(t, store, storetest.Repository("app")), "", storetest.Commit(1),
	)
	return engine, autobuild.Pipeline{
		BuildID:    e.ID,
		Number:     e.Number,
		Attempt:    1,
		Repository: e.Repository,
		Ref:        e.Ref,
		Commit:     e.Commit.Hash,
	}
}
