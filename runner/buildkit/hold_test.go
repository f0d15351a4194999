package buildkit_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	bkclient "github.com/moby/buildkit/client"

	"slipway/config/must"
)

// noise returns bytes that no compression makes smaller.
func noise(seed uint64, size int) string {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// collect deletes everything of the builder's cache that is not in use, and the content that nothing refers to.
// BuildKit does the same one second after a build if the cache is larger than its limit.
func (s *running) collect(t *testing.T, options ...bkclient.PruneOption) {
	t.Helper()
	bk, err := bkclient.New(t.Context(), s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bk.Close() }()
	if err := bk.Prune(t.Context(), nil, options...); err != nil {
		t.Fatal(err)
	}
}

// Hooks and tests run between a build and its push, and the builder collects garbage meanwhile.
func TestAnImageIsCompleteUntilItsPush(t *testing.T) {
	needBuildKit(t)
	server, host := start(t, t.TempDir(), "--cache-size", "4MB"), serveRegistry(t)
	client := server.dial(t)
	for i, whole := range []bool{false, true} {
		content := noise(uint64(i), 5<<20)
		r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": content}))
		r.Image, r.Publish, r.Whole = host+"/acme/app", whole, whole
		image := build(t, client, r)
		other := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY b /b\n", "b": noise(9, 1<<20)}))
		build(t, server.dial(t), other)
		server.collect(t, bkclient.WithKeepOpt(0, 0, 4_000_000, 0))
		server.collect(t, bkclient.PruneAll)
		r.Image = serveRegistry(t) + "/acme/app"
		if err := client.Push(t.Context(), r, image.Digest); err != nil {
			t.Fatalf("push after a collection, whole %t: %v", whole, err)
		}
		if got := files(t, r.Image, image.Digest)["a"]; got != content {
			t.Errorf(
				"file of the image, whole %t: got %d bytes, want the %d of the build",
				whole,
				len(got),
				len(content),
			)
		}
	}
}

// The builder keeps the images of a client no longer than the client's connection.
func TestAnImageIsNotKeptAfterItsClient(t *testing.T) {
	needBuildKit(t)
	server, host := start(t, t.TempDir()), serveRegistry(t)
	client := server.dial(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": noise(1, 1<<20)}))
	r.Image = host + "/acme/app"
	image := build(t, client, r)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	second := server.dial(t)
	must.Eventually(t, "the image is in the builder", func() bool {
		server.collect(t, bkclient.PruneAll)
		r.Image = serveRegistry(t) + "/acme/app"
		err := second.Push(context.Background(), r, image.Digest)
		return err != nil && strings.Contains(err.Error(), "not found")
	})
}

// The lease of a builder that was killed does not keep its images forever.
func TestAnImageIsNotKeptAfterAKilledBuilder(t *testing.T) {
	needBuildKit(t)
	state, host := t.TempDir(), serveRegistry(t)
	server := start(t, state)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": noise(1, 1<<20)}))
	r.Image = host + "/acme/app"
	image := build(t, server.dial(t), r)
	if err := server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.wait(t, soon) // it was killed
	again := start(t, state)
	again.collect(t, bkclient.PruneAll)
	if err := again.dial(t).Push(t.Context(), r, image.Digest); err == nil {
		t.Error("push of the killed builder's image: got no error, want one")
	}
}
