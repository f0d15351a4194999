package attacktest

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/docker/cli/cli/config/configfile"
	clitypes "github.com/docker/cli/cli/config/types"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"
	"golang.org/x/sync/errgroup"
)

// A build is one build by a client that may send any request.
type build struct {
	dockerfile string
	definition *llb.Definition   // in place of a Dockerfile
	files      map[string]string // of the context
	date       time.Time         // of these files; zero = now
	attributes map[string]string // of the frontend
	secrets    map[string]string
	ssh        session.Attachable
	sharedKey  string
	cacheFrom  string // image name
	cacheTo    string
	login      login
	image      string            // pushes the result there, with layers of another compression
	onStep     func(name string) // is called when a step starts
}

// run builds, and returns the result's file /got.
func (b build) run(ctx context.Context, address string) (string, error) {
	c, err := client.New(ctx, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	options, err := b.options(dir)
	if err != nil {
		return "", err
	}
	status := make(chan *client.SolveStatus)
	var group errgroup.Group
	group.Go(func() error {
		for s := range status {
			for _, v := range s.Vertexes {
				if b.onStep != nil && v.Started != nil {
					b.onStep(v.Name)
				}
			}
		}
		return nil
	})
	_, err = c.Solve(ctx, b.definition, options, status)
	_ = group.Wait() // it returns no error
	if err != nil {
		return "", err
	}
	got, err := os.ReadFile(filepath.Join(dir, "out", "got"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(got), err
}

func (b build) options(dir string) (client.SolveOpt, error) {
	contextFS, err := b.writeFiles(filepath.Join(dir, "context"), b.files)
	if err != nil {
		return client.SolveOpt{}, err
	}
	dockerfile, err := b.writeFiles(filepath.Join(dir, "dockerfile"), map[string]string{"Dockerfile": b.dockerfile})
	if err != nil {
		return client.SolveOpt{}, err
	}
	o := client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: map[string]string{"filename": "Dockerfile"},
		LocalMounts:   map[string]fsutil.FS{"context": contextFS, "dockerfile": dockerfile},
		SharedKey:     b.sharedKey,
		Session:       b.attachables(),
		Exports:       []client.ExportEntry{{Type: "local", OutputDir: filepath.Join(dir, "out")}},
	}
	if b.image != "" {
		o.Exports = []client.ExportEntry{{Type: "image", Attrs: map[string]string{
			"name":              b.image,
			"push":              "true",
			"compression":       "zstd",
			"force-compression": "true",
			"oci-mediatypes":    "true",
		}}}
	}
	maps.Copy(o.FrontendAttrs, b.attributes)
	if b.definition != nil {
		o.Frontend, o.FrontendAttrs = "", nil
	}
	if b.cacheFrom != "" {
		o.CacheImports = []client.CacheOptionsEntry{registryCache(b.cacheFrom)}
	}
	if b.cacheTo != "" {
		o.CacheExports = []client.CacheOptionsEntry{registryCache(b.cacheTo)}
	}
	return o, nil
}

func registryCache(image string) client.CacheOptionsEntry {
	return client.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": image, "mode": "max"}}
}

func (b build) attachables() []session.Attachable {
	logins := &configfile.ConfigFile{AuthConfigs: map[string]clitypes.AuthConfig{}}
	if b.login.host != "" {
		logins.AuthConfigs[b.login.host] = clitypes.AuthConfig{Username: b.login.user, Password: b.login.password}
	}
	secrets := map[string][]byte{}
	for id, value := range b.secrets {
		secrets[id] = []byte(value)
	}
	all := []session.Attachable{
		authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
			AuthConfigProvider: authprovider.LoadAuthConfig(logins),
		}),
		secretsprovider.FromMap(secrets),
	}
	if b.ssh != nil {
		all = append(all, b.ssh)
	}
	return all
}

func (b build) writeFiles(dir string, files map[string]string) (fsutil.FS, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
		if !b.date.IsZero() {
			if err := os.Chtimes(path, b.date, b.date); err != nil {
				return nil, err
			}
		}
	}
	return fsutil.NewFS(dir)
}

// A pair is two builds at once: first waits in a step until the test releases it, and second starts
// meanwhile.
type pair struct {
	first, second               build
	firstAddress, secondAddress string
	release                     build // ends the waiting step; it runs at both addresses
}

// run returns the result of second. waiting and joining are texts in the names of two steps: the one in
// which first waits, and the last one of second before it meets first.
func (p pair) run(ctx context.Context, waiting, joining string) (got string, err error) {
	both, ctx := errgroup.WithContext(ctx)
	var isWaiting, isJoining <-chan struct{}
	p.first.onStep, isWaiting = notifyOn(waiting)
	p.second.onStep, isJoining = notifyOn(joining)
	both.Go(func() error {
		_, err := p.first.run(ctx, p.firstAddress)
		return err
	})
	if err := await(ctx, isWaiting); err != nil {
		return "", errors.Join(err, both.Wait())
	}
	ended := make(chan struct{})
	both.Go(func() (err error) {
		defer close(ended)
		got, err = p.second.run(ctx, p.secondAddress)
		return err
	})
	if err := await(ctx, isJoining); err != nil {
		return "", errors.Join(err, both.Wait())
	}
	// BuildKit does not report that a step joins a running one.
	select {
	case <-ended:
	case <-time.After(joinTime):
	}
	for _, address := range []string{p.firstAddress, p.secondAddress} {
		if _, err := p.release.run(ctx, address); err != nil {
			return "", errors.Join(err, both.Wait())
		}
	}
	err = both.Wait()
	return got, err
}

// joinTime is the time in which the second build of a pair ends, or joins the first one.
const joinTime = 4 * time.Second

// notifyOn returns a function for build.onStep that closes a channel when a step starts whose name
// contains the text.
func notifyOn(text string) (onStep func(name string), started <-chan struct{}) {
	var once sync.Once
	closed := make(chan struct{})
	return func(name string) {
		if strings.Contains(name, text) {
			once.Do(func() { close(closed) })
		}
	}, closed
}

func await(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
