package demo_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// secretsOf are the texts that must not stand anywhere, by what they are.
func secretsOf(env *demotest.Env, p *demotest.Project) map[string]string {
	env.T.Helper()
	password := env.RegistryPassword().Reveal()
	all := map[string]string{
		"the registry's password": password,
		"the registry's login": base64.StdEncoding.EncodeToString(
			[]byte(localenv.RegistryUser + ":" + password),
		),
		"the OAuth consumer's secret":    env.Client.Reveal(),
		"Alice's password":               env.Password.Reveal(),
		"the environment's value":        canary,
		"the environment's value, coded": base64.StdEncoding.EncodeToString([]byte(canary)),
		"the webhook's secret":           hookOf(env, p).Secret.Reveal(),
	}
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	accounts, err := s.Accounts(env.Context)
	env.Must(err)
	for _, a := range accounts {
		all["the access token of "+a.Name] = a.AccessToken.Reveal()
		all["the refresh token of "+a.Name] = a.RefreshToken.Reveal()
	}
	for what, text := range all {
		if len(text) < 8 {
			env.T.Fatalf("%s is %q: too short to be looked for", what, text)
		}
	}
	return all
}

// A watchman looks at the arguments of all processes as long as the test runs, and learns
// the runners' tokens, which nobody keeps.
type watchman struct {
	env  *demotest.Env
	stop context.CancelFunc
	done sync.WaitGroup

	looks  int
	found  map[string]string // arguments by the secret that they show
	tokens map[string]bool
}

func watchArguments(env *demotest.Env, secrets map[string]string) *watchman {
	ctx, stop := context.WithCancel(env.Context)
	w := &watchman{env: env, stop: stop, found: map[string]string{}, tokens: map[string]bool{}}
	w.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look(secrets)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	env.T.Cleanup(func() { stop(); w.done.Wait() })
	return w
}

func (w *watchman) look(secrets map[string]string) {
	processes, err := localenv.Processes()
	if err != nil {
		return
	}
	w.looks++
	for _, p := range processes {
		args := strings.Join(p.Args, " ")
		if strings.HasSuffix(args, " runner") &&
			strings.HasPrefix(p.Dir, w.env.Gateway.Data) { // other tests run runners too
			w.learn(p)
		}
		for what, text := range secrets {
			if strings.Contains(args, text) {
				w.found[what] = args
			}
		}
		for token := range w.tokens {
			if strings.Contains(args, token) {
				w.found["a runner's token"] = args
			}
		}
	}
}

// learn reads a runner's token from the environment that it was started with.
func (w *watchman) learn(p localenv.Process) {
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.ID)) // it may have ended
	for line := range strings.SplitSeq(string(environ), "\x00") {
		if token, ok := strings.CutPrefix(line, "SLIPWAY_RUNNER_TOKEN="); ok {
			w.tokens[token] = true
		}
	}
}

// report tells what was seen, and stops.
func (w *watchman) report() {
	w.stop()
	w.done.Wait()
	if w.looks < 10 {
		w.env.T.Errorf("looked at the processes only %d times", w.looks)
	}
	if len(w.tokens) < 2 {
		w.env.T.Errorf("saw %d runner's tokens, want one for each attempt", len(w.tokens))
	}
	for what, args := range w.found {
		w.env.T.Errorf("the arguments of a process show %s: %s", what, args)
	}
}

// secretsStay: no secret stands in a log, in the gateway's data (the database's files, the
// logs and the builder's state are below it), or in the image.
func secretsStay(env *demotest.Env, p *demotest.Project, b autobuild.Build, tokens map[string]bool) {
	secrets := secretsOf(env, p)
	for token := range tokens {
		secrets["the runner's token "+token[:4]+"…"] = token
	}
	for attempt := 1; attempt <= b.Attempt; attempt++ {
		log, err := env.Browser.Log(env.Context, b, attempt, 0)
		env.Must(err)
		absent(env, "the build's log", []byte(log), secrets)
		if !strings.Contains(log, "hook sees ***") {
			env.T.Errorf("the hook did not run, or its words were not masked:\n%s", log)
		}
	}
	absentFromFile(env, env.Gateway.LogFile(), secrets)
	seen := map[string]bool{}
	env.Must(filepath.WalkDir(env.Gateway.Data, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) || (err == nil && !d.Type().IsRegular()) {
			return nil // work that just ended, or a directory or socket
		}
		if err != nil {
			return err
		}
		seen[d.Name()] = true
		absentFromFile(env, path, secrets)
		return nil
	}))
	if !seen["slipway.db"] || !seen["slipway.db-wal"] {
		env.T.Errorf("the database's files were not looked at: %v", seen)
	}
	absentFromImage(env, p.Image+":latest", secrets)
}

func absentFromFile(env *demotest.Env, path string, secrets map[string]string) {
	env.T.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return
	}
	env.Must(err)
	absent(env, path, data, secrets)
}

// maxLayer bounds what is read of a layer, in bytes: it holds a busybox and a few files.
const maxLayer = 64 << 20

func absentFromImage(env *demotest.Env, image string, secrets map[string]string) {
	env.T.Helper()
	img, _, err := env.Pull(env.Context, image)
	env.Must(err)
	config, err := img.RawConfigFile()
	env.Must(err)
	absent(env, "the image's configuration", config, secrets)
	layers, err := img.Layers()
	env.Must(err)
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		env.Must(err)
		data, err := io.ReadAll(io.LimitReader(content, maxLayer+1))
		env.Must(err)
		if len(data) > maxLayer {
			env.T.Errorf("a layer of %s is larger than %d bytes: it was not looked through", image, maxLayer)
		}
		env.Must(content.Close())
		absent(env, "a layer of the image", data, secrets)
	}
}

func absent(env *demotest.Env, where string, data []byte, secrets map[string]string) {
	env.T.Helper()
	for what, text := range secrets {
		if bytes.Contains(data, []byte(text)) {
			env.T.Errorf("%s holds %s", where, what)
		}
	}
}
