package builder_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuildAndPushMoveNoTag(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	client := start(t, t.TempDir()).dial(t)
	dir := withShell(t, write(t, map[string]string{
		"Dockerfile": "# syntax=docker/dockerfile:1\n" + shellStage + "ARG VERSION\nLABEL version=$VERSION\nCOPY hello /hello\nRUN cat /hello && echo built-$VERSION\n",
		"hello":      "good day\n",
	}))
	var log bytes.Buffer
	r := request(dir)
	r.Image, r.BuildArgs, r.Progress = host+"/acme/app", map[string]string{"VERSION": "1.2"}, &log
	built, err := client.Build(t.Context(), r)
	if err != nil {
		t.Fatalf("build: %v\n%s", err, &log)
	}
	t.Log(log.String())
	if len(tags(t, r.Image)) != 0 {
		t.Error("Build pushed something")
	}
	if err := client.Push(t.Context(), r, built.Digest); err != nil {
		t.Fatalf("push: %v", err)
	}
	if got := tags(t, r.Image); len(got) != 0 {
		t.Errorf("Push moved the tags %v", got)
	}
	img := pull(t, r.Image, built.Digest)
	if diff := cmp.Diff(map[string]string{"version": "1.2"}, labels(t, img)); diff != "" {
		t.Error(diff)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	size := manifest.Config.Size
	for _, l := range manifest.Layers {
		size += l.Size
	}
	if built.Size != size || built.Steps != 4 || built.Cached != 0 {
		t.Errorf("got %+v, want size %d and 4 steps, none cached", built, size)
	}
}
