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

// secretsOf returns the texts that must not be visible anywhere, by description.
func secretsOf(env *demotest.Env, p *demotest.Project) map[string]string {
	env.T.Helper()
	password := env.RegistryPassword().Reveal()
	all := map[string]string{
		"the registry's password":        password,
		"the registry's login":           encode64(localenv.RegistryUser + ":" + password),
		"the OAuth consumer's secret":    env.Client.Reveal(),
		"Alice's password":               env.Password.Reveal(),
		"the environment's value":        canary,
		"the environment's value, coded": encode64(canary),
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
	for name, text := range all {
		if len(text) < 8 {
			env.T.Fatalf("%s: got %q, want at least 8 characters to search for", name, text)
		}
	}
	return all
}

func encode64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// A processRecorder searches the arguments of all processes for secrets while the test runs. It also
// records the tokens of runners, which are stored nowhere.
type processRecorder struct {
	env  *demotest.Env
	stop context.CancelFunc
	done sync.WaitGroup

	polls  int
	found  map[string]string // arguments by the secret that they contain
	tokens map[string]bool
}

func recordProcesses(env *demotest.Env, secrets map[string]string) *processRecorder {
	ctx, stop := context.WithCancel(env.Context)
	r := &processRecorder{env: env, stop: stop, found: map[string]string{}, tokens: map[string]bool{}}
	r.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			r.poll(secrets)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	env.T.Cleanup(func() { stop(); r.done.Wait() })
	return r
}

func (r *processRecorder) poll(secrets map[string]string) {
	processes, err := localenv.Processes()
	if err != nil {
		return
	}
	r.polls++
	for _, p := range processes {
		args := strings.Join(p.Args, " ")
		isOurs := strings.HasPrefix(p.Dir, r.env.Gateway.Data) // other tests have runners of their own
		if isOurs && strings.HasSuffix(args, " runner") {
			r.recordToken(p)
		}
		for what, text := range secrets {
			if strings.Contains(args, text) {
				r.found[what] = args
			}
		}
		for token := range r.tokens {
			if strings.Contains(args, token) {
				r.found["a runner's token"] = args
			}
		}
	}
}

// recordToken reads a runner's token from its environment.
func (r *processRecorder) recordToken(p localenv.Process) {
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.ID)) // it may have ended
	for line := range strings.SplitSeq(string(environ), "\x00") {
		if token, ok := strings.CutPrefix(line, "SLIPWAY_RUNNER_TOKEN="); ok {
			r.tokens[token] = true
		}
	}
}

// check stops the recorder and reports the secrets that it found.
func (r *processRecorder) check() {
	r.stop()
	r.done.Wait()
	if r.polls < 10 {
		r.env.T.Errorf("polls of the processes: got %d, want at least 10", r.polls)
	}
	if len(r.tokens) < 2 {
		r.env.T.Errorf("tokens of runners: got %d, want one for each attempt", len(r.tokens))
	}
	for what, args := range r.found {
		r.env.T.Errorf("arguments of a process: got %s, want none: %s", what, args)
	}
}

// checkNoSecrets checks that the logs, the gateway's data and the image contain no secret. The
// gateway's data includes the database files, the logs and the builder's state.
func checkNoSecrets(env *demotest.Env, p *demotest.Project, b autobuild.Build, tokens map[string]bool) {
	secrets := secretsOf(env, p)
	for token := range tokens {
		secrets["the runner's token "+token[:4]+"…"] = token
	}
	for attempt := 1; attempt <= b.Attempt; attempt++ {
		log, err := env.Browser.Log(env.Context, b, attempt, 0)
		env.Must(err)
		checkAbsent(env, "the build's log", []byte(log), secrets)
		if !strings.Contains(log, "hook sees ***") {
			env.T.Errorf("masked line of the hook in the log: got none, want one:\n%s", log)
		}
	}
	checkFile(env, env.Gateway.LogFile(), secrets)
	seen := map[string]bool{}
	env.Must(filepath.WalkDir(env.Gateway.Data, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) || (err == nil && !d.Type().IsRegular()) {
			return nil // a runner that has just ended, or a directory or socket
		}
		if err != nil {
			return err
		}
		seen[d.Name()] = true
		checkFile(env, path, secrets)
		return nil
	}))
	if !seen["slipway.db"] || !seen["slipway.db-wal"] {
		env.T.Errorf("files: got %v, want the database files among them", seen)
	}
	checkImageContent(env, p.Image+":latest", secrets)
}

func checkFile(env *demotest.Env, path string, secrets map[string]string) {
	env.T.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return
	}
	env.Must(err)
	checkAbsent(env, path, data, secrets)
}

// maxLayer is the maximum size of a layer that is searched, in bytes.
const maxLayer = 64 << 20

func checkImageContent(env *demotest.Env, image string, secrets map[string]string) {
	env.T.Helper()
	img, _, err := env.Pull(env.Context, image)
	env.Must(err)
	config, err := img.RawConfigFile()
	env.Must(err)
	checkAbsent(env, "the image's configuration", config, secrets)
	layers, err := img.Layers()
	env.Must(err)
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		env.Must(err)
		data, err := io.ReadAll(io.LimitReader(content, maxLayer+1))
		env.Must(err)
		if len(data) > maxLayer {
			env.T.Errorf("layer of %s: got more than %d bytes, want a smaller one to search", image, maxLayer)
		}
		env.Must(content.Close())
		checkAbsent(env, "a layer of the image", data, secrets)
	}
}

func checkAbsent(env *demotest.Env, where string, data []byte, secrets map[string]string) {
	env.T.Helper()
	for name, text := range secrets {
		if bytes.Contains(data, []byte(text)) {
			env.T.Errorf("%s: got %s in it, want none", where, name)
		}
	}
}
