package runner_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipway/runner/runnertest"
)

// sent records all data that a registry receives, decompressed.
type sent struct {
	mu   sync.Mutex
	all  bytes.Buffer
	asks []string // method and path of each request
}

// keep records a request and passes it on to the registry.
func (s *sent) keep(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.asks = append(s.asks, r.Method+" "+r.URL.Path)
	s.all.Write(unpacked(body))
	s.mu.Unlock()
	next.ServeHTTP(w, r)
}

func unpacked(data []byte) []byte {
	packed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return data // it is not compressed
	}
	text, err := io.ReadAll(packed)
	if err != nil {
		return data
	}
	return text
}

// The build uses each secret of the step. Even so, no secret is in the arguments of programs, the log,
// the image, its history, its layers or a cache.
func TestNoSecretOfTheStepIsSeenAnywhere(t *testing.T) {
	needBuildKit(t)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("SKIPPED: RUN needs a static shell, which is absent (Debian: apt-get install busybox-static)")
	}
	e := newEnv(t)
	recorded := &sent{}
	asking := runnertest.RequireLogin("ci", "canary-password")
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		asking(rw, r, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { recorded.keep(rw, r, next) }))
	})
	key := e.Git.SSH(t).Key.Reveal()
	dir := runnertest.Workspace(t, map[string]string{
		"busybox": string(busybox), "token": "canary-file\n",
		"Dockerfile": "FROM scratch AS build\nCOPY --chmod=755 busybox /bin/sh\n" +
			"RUN --mount=type=secret,id=npm --mount=type=secret,id=file,env=FILE --mount=type=ssh " +
			"read -r npm </run/secrets/npm; echo used $npm $FILE $https_proxy; test -S $SSH_AUTH_SOCK && echo ${#npm} ${#FILE} >/made\n" +
			"FROM scratch\nCOPY --from=build /made /made\n",
		".dockerignore": "token\n",
	})
	cache := t.TempDir()
	cmd := stepCommand(
		t,
		dir,
		"PLUGIN_REPO="+e.Registry.Image(),
		"PLUGIN_TAGS=latest",
		"PLUGIN_INSECURE=true",
		"PLUGIN_USERNAME=ci",
		"PLUGIN_PASSWORD=canary-password",
		"PLUGIN_SECRETS_FROM_ENV=npm=NPM",
		"NPM=canary-npm",
		"PLUGIN_SECRETS_FROM_FILE=file=token",
		"PLUGIN_SSH_AGENT_KEY="+key,
		"PLUGIN_HTTPS_PROXY=http://u:canary-proxy@127.0.0.1:1",
		"PLUGIN_CACHE_TO=type=local,dest="+cache+",mode=max",
		"PLUGIN_CACHE_IMAGES="+e.Registry.Image()+"-cache:c",
		"PLUGIN_PROVENANCE=mode=min",
	)
	stop := runnertest.RecordArguments()
	out, err := cmd.CombinedOutput()
	started := stop()
	if err != nil {
		t.Fatalf("slipway runner: %v\n%s", err, out)
	}
	files := readAll(t, cache)
	for where, text := range map[string]string{"the log": string(out), "arguments": started, "the registry": recorded.all.String(), "the local cache": files} {
		for _, secret := range []string{"canary", strings.Split(key, "\n")[2]} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s: got %q in …%q, want it masked", where, secret, text[max(0, at-200):min(len(text), at+60)])
			}
		}
	}
	for where, used := range map[string]bool{
		"arguments":       strings.Contains(started, "builder.sock"),
		"the log":         strings.Contains(string(out), "used ********** *********** ****"),
		"the registry":    strings.Contains(recorded.all.String(), "10 12\n"),
		"the local cache": strings.Contains(files, "10 12\n"),
	} {
		if !used {
			t.Errorf("%s: got too little data, want enough to search:\n%s", where, out)
		}
	}
}

// readAll returns the contents of all files below a directory, decompressed.
func readAll(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all.Write(unpacked(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// B15: without a cache setting, the step neither reads nor writes a cache. All requests to the registry
// are for the image's name, with its digest and tags.
func TestB15NoCacheUnlessAskedFor(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	recorded := &sent{}
	e.Registry.Intercept(recorded.keep)
	dir := runnertest.Workspace(
		t,
		map[string]string{"Dockerfile": "FROM scratch\nCOPY greeting /\n", "greeting": "hello\n"},
	)
	cmd := stepCommand(t, dir, "PLUGIN_REPO="+e.Registry.Image(), "PLUGIN_TAGS=1.2,latest", "PLUGIN_INSECURE=true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("slipway runner: %v\n%s", err, out)
	}
	digest := e.Registry.Tag("latest")
	allowed := map[string]bool{}
	for _, reference := range []string{digest, "1.2", "latest"} {
		allowed["/v2/acme/app/manifests/"+reference] = true
	}
	puts := 0
	for _, ask := range recorded.asks {
		method, path, _ := strings.Cut(ask, " ")
		if strings.Contains(path, "/manifests/") && !allowed[path] {
			t.Errorf("got a request for %s, want none", ask)
		}
		if strings.Contains(path, "/blobs/") && !strings.HasPrefix(path, "/v2/acme/app/") {
			t.Errorf("got a request for %s, want none", ask)
		}
		if method == http.MethodPut && strings.Contains(path, "/manifests/") {
			puts++
		}
	}
	if puts != 2 {
		t.Errorf("manifests sent to the registry: got %d, want 2 for two tags: %q", puts, recorded.asks)
	}
	if strings.Contains(recorded.all.String(), "buildkit.cache") {
		t.Error("got a sent cache, want none")
	}
}

// B17: a build of several platforms pushes one index, and each tag points at it.
func TestB17OneIndexForEachTag(t *testing.T) {
	needBuildKit(t)
	e := newEnv(t)
	dir := runnertest.Workspace(
		t,
		map[string]string{
			"Dockerfile": "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY greeting /\n",
			"greeting":   "hello\n",
		},
	)
	cmd := stepCommand(
		t,
		dir,
		"PLUGIN_REPO="+e.Registry.Image(),
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_PLATFORMS=linux/amd64,linux/arm64",
		"PLUGIN_INSECURE=true",
	)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("slipway runner: %v\n%s", err, out)
	}
	if got := e.Registry.Tag("1.2"); got != e.Registry.Tag("latest") {
		t.Errorf("tag 1.2: got %v, want %v", got, e.Registry.Tag("latest"))
	}
	if e.Registry.Tag("latest") == "" {
		t.Errorf("tag latest: got none, want a digest")
	}
	if got := e.Registry.Platforms("latest"); got != "linux/amd64=amd64 linux/arm64=arm64" {
		t.Errorf("platforms and labels: got %s, want linux/amd64=amd64 linux/arm64=arm64", got)
	}
}
