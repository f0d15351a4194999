package woodpecker_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipway/config/loopback"
	"slipway/config/secret"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/engine/enginetest"
)

// binVariable names a woodpecker-server program, with woodpecker-agent in the same directory.
const binVariable = "SLIPWAY_TEST_WOODPECKER_BIN"

// ownClone is the beginning of a repository's own pipeline: it runs on each push, and clones.
const ownClone = "when:\n  event: [push, tag]\nclone:\n  - name: git\n    image: woodpeckerci/plugin-git\n   " +
	" settings: {lfs: false}\n"

func TestRealWoodpeckerInTheBuilderRepository(t *testing.T) { conformReal(t, "acme/builder") }

func TestRealWoodpeckerPerRepository(t *testing.T) { conformReal(t, "") }

func conformReal(t *testing.T, repository string) {
	demotest.RequireTools(t)
	server, agent := enginetest.Binaries(t, binVariable, "woodpecker-agent")
	enginetest.Run(t, enginetest.Factory{
		Env:   func(testing.TB) (localenv.Options, *enginetest.CI) { return withReal(server, agent, repository) },
		Limit: "SLIPWAY_WOODPECKER_CONCURRENCY", Alone: alone, Builder: repository != "",
	})
}

// real is a Woodpecker server and its agent in an environment.
type real struct {
	server, agent string // paths of the programs
	env           *localenv.Env
	front         *enginetest.Front
	address, rpc  string
	shared        string // secret that the server and the agent share
	ci            *enginetest.CI
}

// withReal returns an environment whose gateway runs all builds on a real Woodpecker with the local
// backend.
func withReal(server, agent, repository string) (localenv.Options, *enginetest.CI) {
	p := &real{server: server, agent: agent, shared: rand.Text(), ci: &enginetest.CI{}}
	return localenv.Options{BeforeGateway: func(ctx context.Context, w *localenv.Env) ([]string, error) {
		p.env = w
		return p.start(ctx, repository)
	}}, p.ci
}

func (p *real) start(ctx context.Context, repository string) ([]string, error) {
	w := p.env
	_, err := p.ci.Prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	if p.front, err = enginetest.NewFront(ctx, w); err != nil {
		return nil, err
	}
	if err := p.startServer(ctx, repository); err != nil {
		return nil, err
	}
	token, err := p.signIn(ctx)
	if err != nil {
		return nil, fmt.Errorf("sign in to Woodpecker: %w", err)
	}
	if err := p.startAgent(ctx); err != nil {
		return nil, err
	}
	if err := p.activate(ctx, token, "acme/builder"); err != nil {
		return nil, err
	}
	controls(p.ci, "http://"+p.address, token)
	p.ci.Own = &enginetest.OwnPipeline{
		File: ".woodpecker.yaml",
		Text: func(proxy string) string {
			return ownClone + "steps:\n  - name: say\n    image: sh\n    commands:\n      - " + proxy + "\n"
		},
		Step: func(program string, settings map[string]string) string {
			step := ownClone + "steps:\n  - name: publish\n    image: " + program + "\n    settings:\n"
			for _, name := range slices.Sorted(maps.Keys(settings)) {
				step += "      " + name + ": " + strconv.Quote(settings[name]) + "\n"
			}
			return step
		},
		Activate: func(ctx context.Context, fullName string) error { return p.activate(ctx, token, fullName) },
	}
	origin, err := p.ci.Connect(ctx, w, "http://"+p.address)
	return append([]string{
		"SLIPWAY_ENGINE=woodpecker", "SLIPWAY_WOODPECKER_SERVER=" + origin,
		"SLIPWAY_WOODPECKER_REPOSITORY=" + repository,
		"SLIPWAY_WOODPECKER_TOKEN=" + token.Reveal(),
	}, p.ci.Settings("SLIPWAY_WOODPECKER_")...), err
}

// startServer starts Woodpecker. With a builder repository the gateway sets the extensions there.
func (p *real) startServer(ctx context.Context, repository string) (err error) {
	if p.address, err = loopback.FreeAddress(ctx); err != nil {
		return err
	}
	if p.rpc, err = loopback.FreeAddress(ctx); err != nil {
		return err
	}
	w := p.env
	consumer, err := w.Bitbucket.AddConsumer(
		w.App.Workspace, "http://"+p.address+"/authorize", "account", "email", "project", "repository",
		"webhook", "pullrequest",
	)
	if err != nil {
		return err
	}
	w.Bitbucket.Link(w.Alice, consumer)
	environ := []string{
		"WOODPECKER_HOST=http://" + p.address, "WOODPECKER_SERVER_ADDR=" + p.address, "WOODPECKER_GRPC_ADDR=" + p.rpc,
		"WOODPECKER_AGENT_SECRET=" + p.shared, "WOODPECKER_OPEN=true", "WOODPECKER_ADMIN=alice",
		"WOODPECKER_LOG_LEVEL=debug",
		"WOODPECKER_DATABASE_DRIVER=sqlite3",
		"WOODPECKER_DATABASE_DATASOURCE=" + filepath.Join(w.Dir, "woodpecker.sqlite"),
		"WOODPECKER_BITBUCKET=true", "WOODPECKER_BITBUCKET_CLIENT=" + consumer.Key,
		"WOODPECKER_BITBUCKET_SECRET=" + consumer.Secret.Reveal(),
		"WOODPECKER_EXTENSIONS_ALLOWED_HOSTS=loopback", "WOODPECKER_DISABLE_VERSION_CHECK=true",
		"HTTPS_PROXY=" + p.front.Proxy, "NO_PROXY=127.0.0.1,localhost", "SSL_CERT_FILE=" + p.front.Authority,
	}
	if repository == "" {
		environ = append(environ,
			"WOODPECKER_CONFIG_EXTENSION_ENDPOINT="+w.Gateway.URL+"/extensions/woodpecker/config",
			"WOODPECKER_SECRET_EXTENSION_ENDPOINT="+w.Gateway.URL+"/extensions/woodpecker/secret")
	}
	if _, err = enginetest.StartProcess(w, "woodpecker-server", p.server, nil, environ); err != nil {
		return err
	}
	return enginetest.WaitResponse(ctx, "http://"+p.address+"/healthz")
}

func (p *real) startAgent(ctx context.Context) error {
	health, err := loopback.FreeAddress(ctx)
	if err != nil {
		return err
	}
	agent, err := enginetest.StartProcess(p.env, "woodpecker-agent", p.agent, nil, []string{
		"WOODPECKER_SERVER=" + p.rpc, "WOODPECKER_AGENT_SECRET=" + p.shared,
		"WOODPECKER_BACKEND=local", "WOODPECKER_MAX_WORKFLOWS=8",
		"WOODPECKER_BACKEND_LOCAL_TEMP_DIR=" + p.env.Dir,
		"WOODPECKER_AGENT_CONFIG_FILE=" + filepath.Join(p.env.Dir, "agent.conf"),
		"WOODPECKER_HEALTHCHECK_ADDR=" + health,
		// Steps clone from Bitbucket with the plugin-git in the server's directory.
		"HTTPS_PROXY=" + p.front.Proxy, "NO_PROXY=127.0.0.1,localhost", "GIT_SSL_CAINFO=" + p.front.Authority,
		// Woodpecker's credential is valid for bitbucket.org.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.https://bitbucket.org/.insteadOf",
		"GIT_CONFIG_VALUE_0=" + p.env.Bitbucket.URL() + "/",
		"PATH=" + filepath.Dir(p.agent) + ":" + os.Getenv("PATH"),
	})
	if err != nil {
		return err
	}
	p.ci.Hold, p.ci.Release, p.ci.RestartAgents = agent.Hold, agent.Release, agent.Restart
	return nil
}

// signIn signs in as Alice with a browser: Woodpecker redirects to Bitbucket, where she signs in.
// It returns a new token of hers.
func (p *real) signIn(ctx context.Context) (secret.Secret, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return secret.Secret{}, err
	}
	browser := p.front.Client(jar)
	page, at, err := visit(ctx, browser, http.MethodGet, "http://"+p.address+"/authorize", nil)
	if err != nil {
		return secret.Secret{}, err
	}
	fields := url.Values{
		"username": {"alice"},
		"password": {p.env.Password.Reveal()},
		"next":     {at.Query().Get("next")},
	}
	hiddenField := regexp.MustCompile(`name="(csrfmiddlewaretoken|next)" value="([^"]*)"`)
	for _, hidden := range hiddenField.FindAllStringSubmatch(page, -1) {
		fields.Set(hidden[1], strings.ReplaceAll(hidden[2], "&amp;", "&"))
	}
	if _, at, err = visit(ctx, browser, http.MethodPost, at.String(), fields); err != nil {
		return secret.Secret{}, err
	}
	if at.Host != p.address || strings.Contains(at.RawQuery, "error") {
		return secret.Secret{}, fmt.Errorf(
			"signing in ended at %s; Woodpecker's log ends with: %s", at.Redacted(), p.lastLog(),
		)
	}
	script, _, err := visit(ctx, browser, http.MethodGet, "http://"+p.address+"/web-config.js", nil)
	if err != nil {
		return secret.Secret{}, err
	}
	csrf := regexp.MustCompile(`WOODPECKER_CSRF = "([^"]+)"`).FindStringSubmatch(script)
	if csrf == nil {
		return secret.Secret{}, fmt.Errorf("not signed in: %s", script)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.address+"/api/user/token", nil)
	if err != nil {
		return secret.Secret{}, err
	}
	req.Header.Set("X-CSRF-TOKEN", csrf[1])
	token, _, err := send(browser, req)
	return secret.New(token), err
}

// lastLog returns the end of the Woodpecker server's log.
func (p *real) lastLog() string {
	log, err := os.ReadFile(filepath.Join(p.env.Dir, "woodpecker-server.log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-4000):])
}

// activate activates a repository. The engine activates the builds' repositories itself; a user
// activates the builder repository.
func (p *real) activate(ctx context.Context, token secret.Secret, fullName string) error {
	listed, _, err := p.call(ctx, token, http.MethodGet, "/api/user/repos?all=true")
	if err != nil {
		return err
	}
	pattern := `"forge_remote_id":"([^"]*)"[^{]*"full_name":"` + fullName + `"`
	id := regexp.MustCompile(pattern).FindStringSubmatch(listed)
	if id == nil {
		return fmt.Errorf("Woodpecker does not see %s: %s", fullName, listed)
	}
	_, _, err = p.call(ctx, token, http.MethodPost, "/api/repos?forge_remote_id="+url.QueryEscape(id[1]))
	return err
}

func (p *real) call(ctx context.Context, token secret.Secret, method, path string) (string, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.address+path, nil)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return send(http.DefaultClient, req)
}

func visit(ctx context.Context, c *http.Client, method, address string, form url.Values) (string, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Referer", address)
	}
	return send(c, req)
}

func send(c *http.Client, req *http.Request) (body string, at *url.URL, err error) {
	resp, err := c.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Redacted(), resp.Status, data)
	}
	return string(data), resp.Request.URL, err
}
