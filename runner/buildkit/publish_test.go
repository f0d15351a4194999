package buildkit_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	controlapi "github.com/moby/buildkit/api/services/control"
	bkclient "github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"
)

// The builder pushes only by digest, and also layers of a base image that no step has read.
func TestTheBuilderPublishesByDigest(t *testing.T) {
	needBuildKit(t)
	server, host := start(t, t.TempDir()), serveRegistry(t)
	client := server.dial(t)
	base := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "of the base"}))
	base.Image, base.Publish = host+"/acme/base", true
	first := build(t, client, base)
	if !first.Pushed || len(tags(t, base.Image)) != 0 {
		t.Fatalf("first image: got pushed %v and tags %v, want true and none", first.Pushed, tags(t, base.Image))
	}
	fresh := start(t, t.TempDir()).dial(t) // does not have the base image
	r := request(write(t, map[string]string{"Dockerfile": "FROM " + base.Image + "@" + first.Digest + "\nLABEL a=b\n"}))
	r.Image, r.Publish = host+"/acme/app", true
	second := build(t, fresh, r)
	if !second.Pushed {
		t.Error("second image pushed by the builder: got false, want true")
	}
	if got, want := files(t, r.Image, second.Digest)["a"], "of the base"; got != want {
		t.Errorf("file a: got %q, want %q", got, want)
	}
	if second.Size == 0 {
		t.Error("size of the second image: got 0, want more")
	}
	if got := digest.FromBytes(second.Manifest).String(); got != second.Digest {
		t.Errorf("digest of the manifest: got %s, want %s", got, second.Digest)
	}
}

// The builder moves the tag after it has pushed the image.
func TestTheBuilderPublishesByTag(t *testing.T) {
	needBuildKit(t)
	client, host := start(t, t.TempDir()).dial(t), serveRegistry(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "tagged"}))
	r.Image, r.Publish, r.Tag = host+"/acme/app", true, "1.2"
	image := build(t, client, r)
	if !image.Pushed {
		t.Error("image pushed by the builder: got false, want true")
	}
	if got, want := files(t, r.Image, image.Digest)["a"], "tagged"; got != want {
		t.Errorf("file a: got %q, want %q", got, want)
	}
	if got, want := tags(t, r.Image), []string{"1.2"}; !slices.Equal(got, want) {
		t.Errorf("got tags %q, want %q", got, want)
	}
}

// The builder neither pushes nor reads layers that the first registry already has. A second registry
// needs them too.
func TestAPublishedImageCanBePushedToASecondRegistry(t *testing.T) {
	needBuildKit(t)
	host, other := serveRegistry(t), serveRegistry(t)
	base := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "of the base"}))
	base.Image, base.Publish = host+"/acme/base", true
	first := build(t, start(t, t.TempDir()).dial(t), base)
	fresh := start(t, t.TempDir()).dial(t) // does not have the base image
	r := request(write(t, map[string]string{"Dockerfile": "FROM " + base.Image + "@" + first.Digest + "\nLABEL a=b\n"}))
	r.Image, r.Publish, r.Whole = host+"/acme/app", true, true
	image := build(t, fresh, r)
	r.Image = other + "/acme/app"
	if err := fresh.Push(t.Context(), r, image.Digest); err != nil {
		t.Fatal(err)
	}
	if got := files(t, r.Image, image.Digest)["a"]; !image.Pushed || got != "of the base" {
		t.Errorf(`image: got pushed %v and file %q, want true and "of the base"`, image.Pushed, got)
	}
}

func TestPushPushesAnImageThatTheBuilderCouldNot(t *testing.T) {
	needBuildKit(t)
	server, host := start(t, t.TempDir()), serveRegistry(t)
	client := server.dial(t)
	var log bytes.Buffer
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "kept"}))
	r.Image, r.Publish, r.NoCache, r.Progress = "127.0.0.1:1/acme/app", true, true, &log
	image := build(t, client, r)
	checkSteps(t, image, 1, 0)
	if len(image.Ran) != 1 || image.Ran[0].Cached {
		t.Errorf("got steps %+v, want one that was not cached", image.Ran)
	}
	if !strings.Contains(log.String(), "CACHED") {
		t.Errorf("log: got:\n%s\nwant CACHED in it", &log)
	}
	if image.Pushed || !strings.Contains(log.String(), "the builder cannot push the image, so this step pushes it") {
		t.Errorf("image: got pushed %v and log:\n%s\nwant false and the reason", image.Pushed, &log)
	}
	r.Image = host + "/acme/app"
	if err := client.Push(t.Context(), r, image.Digest); err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(r.Image + "@" + image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Image(ref); err != nil {
		t.Error(err)
	}
}

// A record keeps the image for a later Push. It also shows the build's settings to every client of the
// builder, so the builder keeps it only if a Push follows.
func TestABuildThatIsPushedAtOnceLeavesNoRecord(t *testing.T) {
	needBuildKit(t)
	server, host := start(t, t.TempDir()), serveRegistry(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nARG WHO\nCOPY a /a\n", "a": "pushed"}))
	r.Image, r.Publish, r.BuildArgs = host+"/acme/app", true, map[string]string{"WHO": "at-once"}
	build(t, server.dial(t), r)
	r.Whole, r.BuildArgs = true, map[string]string{"WHO": "push-follows"}
	build(t, server.dial(t), r)
	bk, err := bkclient.New(t.Context(), server.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bk.Close() }()
	records, err := bk.ControlClient().ListenBuildHistory(t.Context(), &controlapi.BuildHistoryRequest{EarlyExit: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		event, err := records.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.GetRecord().GetFrontendAttrs()["build-arg:WHO"])
	}
	if diff := cmp.Diff([]string{"push-follows"}, got); diff != "" {
		t.Errorf("build options (-want +got):\n%s", diff)
	}
}
