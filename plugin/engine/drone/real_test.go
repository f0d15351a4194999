package drone_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // Drone's database: the test stores a Bitbucket token for the machine user

	"slipway/config/loopback"
	"slipway/config/secret"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/enginetest"
)

// binVariable names a drone-server program, with drone-runner-exec in the same directory.
const binVariable = "SLIPWAY_TEST_DRONE_BIN"

// ownPipeline is a repository's own pipeline with one step.
const ownPipeline = "kind: pipeline\ntype: exec\nname: own\nplatform: {os: linux, arch: amd64}\ntrigger: " +
	"{event: [push, tag]}\nsteps:\n  - name: say\n"

func TestRealDroneInTheBuilderRepository(t *testing.T) { conformReal(t, "acme/builder") }

func TestRealDronePerRepository(t *testing.T) { conformReal(t, "") }

// conformReal allows for the runner, which polls only every 10 s.
func conformReal(t *testing.T, repository string) {
	demotest.RequireTools(t)
	server, runner := enginetest.Binaries(t, binVariable, "drone-runner-exec")
	enginetest.Run(t, enginetest.Factory{
		Env:   func(testing.TB) (localenv.Options, *enginetest.CI) { return withReal(server, runner, repository) },
		Limit: "SLIPWAY_DRONE_CONCURRENCY", Alone: alone, Slow: 15 * time.Second, Builder: repository != "",
	})
}

// real is a Drone server and its runner in an environment.
type real struct {
	server, runner string // paths of the programs
	env            *localenv.Env
	front          *enginetest.Front
	address        string
	token          string
	rpc            string // secret that the server and the runner share
	ci             *enginetest.CI
}

// withReal returns an environment whose gateway runs all builds on a real Drone. Drone starts after the
// gateway, because the gateway creates the secrets that Drone signs with.
func withReal(server, runner, repository string) (localenv.Options, *enginetest.CI) {
	d := &real{server: server, runner: runner, token: rand.Text(), rpc: rand.Text(), ci: &enginetest.CI{}}
	return localenv.Options{
		BeforeGateway: func(ctx context.Context, w *localenv.Env) ([]string, error) {
			return d.prepare(ctx, w, repository)
		},
		AfterGateway: d.start,
	}, d.ci
}

func (d *real) prepare(ctx context.Context, w *localenv.Env, repository string) ([]string, error) {
	d.env = w
	_, err := d.ci.Prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	if d.front, err = enginetest.NewFront(ctx, w); err != nil {
		return nil, err
	}
	if d.address, err = loopback.FreeAddress(ctx); err != nil {
		return nil, err
	}
	origin, err := d.ci.Connect(ctx, w, "http://"+d.address)
	return append([]string{
		"SLIPWAY_ENGINE=drone", "SLIPWAY_DRONE_SERVER=" + origin,
		"SLIPWAY_DRONE_REPOSITORY=" + repository, "SLIPWAY_DRONE_TYPE=exec",
		"SLIPWAY_DRONE_TOKEN=" + d.token,
	}, d.ci.Settings("SLIPWAY_DRONE_")...), err
}

func (d *real) start(ctx context.Context, w *localenv.Env) error {
	secrets, err := enginetest.ExtensionSecrets(ctx, w, drone.Name, "config", "secret", "webhook")
	if err != nil {
		return err
	}
	consumer, err := w.Bitbucket.AddConsumer(
		w.App.Workspace, "http://"+d.address+"/login", "account", "repository", "webhook", "pullrequest",
	)
	if err != nil {
		return err
	}
	access, refresh := w.Bitbucket.Link(w.Alice, consumer)
	if err := d.startServer(ctx, secrets, consumer.Key, consumer.Secret); err != nil {
		return err
	}
	if err := d.giveToken(ctx, access, refresh); err != nil {
		return err
	}
	return d.startRunner(ctx, secrets["secret"])
}

func (d *real) startServer(
	ctx context.Context,
	secrets map[string]secret.Secret,
	key string,
	consumer secret.Secret,
) error {
	gateway := d.env.Gateway.URL
	_, err := enginetest.StartProcess(d.env, "drone-server", d.server, nil, []string{
		"DRONE_SERVER_HOST=" + d.address, "DRONE_SERVER_PROTO=http",
		"DRONE_SERVER_PORT=" + d.address, "DRONE_RPC_SECRET=" + d.rpc,
		"DRONE_DATABASE_DRIVER=sqlite3", "DRONE_DATABASE_DATASOURCE=" + d.database(),
		"DRONE_BITBUCKET_CLIENT_ID=" + key, "DRONE_BITBUCKET_CLIENT_SECRET=" + consumer.Reveal(),
		"HTTPS_PROXY=" + d.front.Proxy, "NO_PROXY=127.0.0.1,localhost", "SSL_CERT_FILE=" + d.front.Authority,
		"DRONE_USER_CREATE=username:slipway,machine:true,admin:true,token:" + d.token,
		"DRONE_STATUS_DISABLED=true", "DRONE_DATADOG_ENABLED=false", "DRONE_CRON_DISABLED=true",
		"DRONE_YAML_ENDPOINT=" + gateway + "/extensions/drone/config",
		"DRONE_YAML_SECRET=" + secrets["config"].Reveal(),
		"DRONE_WEBHOOK_ENDPOINT=" + gateway + "/extensions/drone/webhook",
		"DRONE_WEBHOOK_SECRET=" + secrets["webhook"].Reveal(),
		"DRONE_WEBHOOK_EVENTS=build:*",
	})
	if err != nil {
		return err
	}
	return enginetest.WaitResponse(ctx, "http://"+d.address+"/healthz")
}

func (d *real) database() string { return filepath.Join(d.env.Dir, "drone.sqlite") }

// giveToken links Drone's machine user with Alice's account. A user does this by signing in.
func (d *real) giveToken(ctx context.Context, access, refresh secret.Secret) error {
	db, err := sql.Open("sqlite", d.database())
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(
		ctx,
		`UPDATE users SET user_oauth_token = ?, user_oauth_refresh = ?, user_oauth_expiry = ?
			WHERE user_login = 'slipway'`,
		access.Reveal(),
		refresh.Reveal(),
		time.Now().Add(time.Hour).Unix(),
	)
	return err
}

func (d *real) startRunner(ctx context.Context, key secret.Secret) error {
	address, err := loopback.FreeAddress(ctx)
	if err != nil {
		return err
	}
	p, err := enginetest.StartProcess(d.env, "drone-runner-exec", d.runner, []string{"daemon"}, []string{
		"USER=root", "DRONE_RPC_HOST=" + d.address, "DRONE_RPC_PROTO=http",
		"DRONE_RPC_SECRET=" + d.rpc, "DRONE_HTTP_BIND=" + address,
		"DRONE_RUNNER_CAPACITY=8", "DRONE_RUNNER_NAME=test",
		"DRONE_RUNNER_ROOT=" + filepath.Join(d.env.Dir, "drone-root"),
		"DRONE_SECRET_PLUGIN_ENDPOINT=" + d.env.Gateway.URL + "/extensions/drone/secret",
		"DRONE_SECRET_PLUGIN_TOKEN=" + key.Reveal(),
		// Steps clone from Bitbucket.
		"HTTPS_PROXY=" + d.front.Proxy, "NO_PROXY=127.0.0.1,localhost",
		"DRONE_RUNNER_ENVIRON=GIT_SSL_CAINFO:" + d.front.Authority,
	})
	if err != nil {
		return err
	}
	d.ci.Hold, d.ci.Release, d.ci.RestartAgents, d.ci.Drains = p.Hold, p.Release, p.Restart, true
	controls(d.ci, "http://"+d.address, secret.New(d.token))
	d.ci.Own = &enginetest.OwnPipeline{
		File: ".drone.yml",
		Text: func(line string) string { return ownPipeline + "    commands:\n      - " + line + "\n" },
		// Exec pipelines have no settings, only an environment.
		Step: func(program string, settings map[string]string) string {
			// Clone from bitbucket.org and not from the fake's address.
			step := ownPipeline + "    environment:\n      DRONE_REMOTE_URL: https://bitbucket.org/${DRONE_REPO}.git\n"
			for _, name := range slices.Sorted(maps.Keys(settings)) {
				step += "      PLUGIN_" + strings.ToUpper(name) + ": " + strconv.Quote(settings[name]) + "\n"
			}
			return step + "    commands:\n      - " + program + " runner\n"
		},
		Activate: d.activate,
	}
	return nil
}

// activate presses Sync and then Activate, as a user does.
func (d *real) activate(ctx context.Context, fullName string) error {
	for _, path := range []string{"/api/user/repos?async=false", "/api/repos/" + fullName} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.address+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+d.token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("POST %s: %s: %s", path, resp.Status, body)
		}
	}
	return nil
}
