package buildkit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/identity"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
	"slipway/runner/spec"
)

// dialChild starts a builder for one build.
func dialChild(t *testing.T, o sandbox.ChildOptions) *buildkit.Client {
	t.Helper()
	o.Dir, o.Environ = t.TempDir(), append(os.Environ(), "SLIPWAY_BUILDER_NETWORK=none")
	child, err := sandbox.StartChild(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.Stop)
	client, err := buildkit.Dial(t.Context(), child.Address, identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// The client sends one directory, and the builder is configured with another. The files in the image
// show which of the two processes read the context.
func TestWhichProcessReadsTheContext(t *testing.T) {
	needBuildKit(t)
	const dockerfile, ignore = "FROM scratch\nCOPY . /\n", "Dockerfile\n.dockerignore\nsecret\n"
	sent := map[string]string{"Dockerfile": dockerfile, ".dockerignore": ignore, "a": "sent", "secret": "sent"}
	given := map[string]string{
		"Dockerfile":    "FROM scratch\nCOPY a /not-this-one\n",
		".dockerignore": ignore,
		"a":             "read",
		"secret":        "read",
		"b":             "read",
	}
	stateInContext := sandbox.ChildOptions{Context: write(t, given)}
	stateInContext.State = filepath.Join(stateInContext.Context, "state")
	if err := os.Mkdir(stateInContext.State, 0o700); err != nil {
		t.Fatal(err)
	}
	byClient, byBuilder := map[string]string{"a": "sent"}, map[string]string{"a": "read", "b": "read"}
	for name, c := range map[string]struct {
		options  sandbox.ChildOptions
		want     map[string]string
		reported bool // the log contains the reason why the client sends the context
	}{
		"the builder":                             {sandbox.ChildOptions{Context: write(t, given)}, byBuilder, false},
		"the builder for a cache that stays":      {sandbox.ChildOptions{Context: write(t, given), State: t.TempDir()}, byBuilder, false},
		"the client of what is not there":         {sandbox.ChildOptions{Context: filepath.Join(t.TempDir(), "none")}, byClient, true},
		"the client of where the builder works":   {sandbox.ChildOptions{Context: filepath.Dir(filepath.Dir(t.TempDir()))}, byClient, false},
		"the client of where its cache is":        {stateInContext, byClient, false},
		"the client of a builder that knows none": {sandbox.ChildOptions{}, byClient, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(write(t, sent))
			var log bytes.Buffer
			r.Image, r.Progress = serveRegistry(t)+"/acme/app", &log
			client := dialChild(t, c.options)
			image := build(t, client, r)
			if err := client.Push(t.Context(), r, image.Digest); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, files(t, r.Image, image.Digest)); diff != "" {
				t.Errorf("files of the image (-want +got):\n%s", diff)
			}
			const reason = "the builder cannot read the context, so the client sends it: "
			if got := strings.Contains(log.String(), reason); got != c.reported {
				t.Errorf("reason in the log: got %t, want %t:\n%s", got, c.reported, &log)
			}
			if !strings.Contains(log.String(), "transferring context: ") {
				t.Errorf("log: got:\n%s\nwant %q in it", &log, "transferring context: ")
			}
		})
	}
}

// A cache of a build with a sent context also works for a builder that reads the context in place.
func TestACacheWorksForSentAndLocalContexts(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	r := request(withShell(t, write(t, map[string]string{
		"Dockerfile": shellStage + "COPY a folder /\nRUN busybox cat /proc/sys/kernel/random/uuid > /id\n",
		"a":          "a",
		"folder/b":   "b",
	})))
	if err := os.Symlink("b", filepath.Join(r.Context, "folder/link")); err != nil {
		t.Fatal(err)
	}
	id := func(client *buildkit.Client) string {
		image := build(t, client, r)
		if err := client.Push(t.Context(), r, image.Digest); err != nil {
			t.Fatal(err)
		}
		return files(t, r.Image, image.Digest)["id"]
	}
	r.Image = host + "/acme/app"
	r.Options.CacheTo = []spec.Cache{
		{Type: spec.CacheRegistry, Attrs: map[string]string{"ref": host + "/acme/cache:main", "mode": "max"}},
	}
	sent := id(start(t, t.TempDir()).dial(t))
	r.Image = host + "/other/app"
	r.Options = spec.BuildOptions{
		CacheFrom: []spec.Cache{{Type: spec.CacheRegistry, Attrs: map[string]string{"ref": host + "/acme/cache:main"}}},
	}
	whole := r.Context
	r.Context = write(t, nil) // empty, so a client that sends it fails
	if read := id(dialChild(t, sandbox.ChildOptions{Context: whole})); read != sent || read == "" {
		t.Errorf("RUN ran again: got %q, want %q", read, sent)
	}
}
