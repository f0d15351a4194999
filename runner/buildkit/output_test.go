package buildkit_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/spec"
)

// publish builds and pushes, and returns the digest.
func publish(t *testing.T, client *buildkit.Client, r buildkit.Request) string {
	t.Helper()
	built := build(t, client, r)
	if err := client.Push(t.Context(), r, built.Digest); err != nil {
		t.Fatal(err)
	}
	return built.Digest
}

// index reads an image index from its registry by digest.
func index(t *testing.T, image, digest string) v1.ImageIndex {
	t.Helper()
	ref, err := name.NewDigest(image + "@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	list, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestLabelsAndAnnotations(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(
		write(t, map[string]string{"Dockerfile": "FROM scratch\nLABEL own=1 team=none\nCOPY a /a\n", "a": "a"}),
	)
	r.Image = serveRegistry(t) + "/acme/app"
	plain := pull(t, r.Image, publish(t, client, r))
	if got, err := plain.MediaType(); err != nil || got != types.DockerManifestSchema2 {
		t.Errorf("without annotations: got type %s, error %v, want %s", got, err, types.DockerManifestSchema2)
	}
	notes := map[string]string{
		"org.opencontainers.image.revision": "4f1d0c8",
		"org.opencontainers.image.title":    "A, b=c",
	}
	r.Options.Labels, r.Options.Annotations = map[string]string{"team": "a", "text": "a=b, \"c\""}, notes
	img := pull(t, r.Image, publish(t, client, r))
	if diff := cmp.Diff(map[string]string{"own": "1", "team": "a", "text": "a=b, \"c\""}, labels(t, img)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	manifest, err := img.Manifest()
	if err != nil || manifest.MediaType != types.OCIManifestSchema1 {
		t.Fatalf("manifest: got %+v, error %v, want type %s", manifest, err, types.OCIManifestSchema1)
	}
	if diff := cmp.Diff(notes, manifest.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	r.Platforms = []string{"linux/amd64", "linux/arm64"}
	list, err := index(t, r.Image, publish(t, client, r)).IndexManifest()
	if err != nil || len(list.Manifests) != 2 {
		t.Fatalf("image index: got %+v, error %v, want two manifests", list, err)
	}
	if diff := cmp.Diff(notes, list.Annotations); diff != "" {
		t.Errorf("annotations of the index (-want +got):\n%s", diff)
	}
}

func TestCompression(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	host := serveRegistry(t)
	sizes := map[string]int64{}
	for kind, want := range map[string]types.MediaType{
		"":             types.DockerLayer,
		"gzip:9":       types.DockerLayer,
		"zstd":         types.OCILayerZStd,
		"uncompressed": types.DockerUncompressedLayer,
	} {
		// Each compression has its own file, because BuildKit does not convert an existing layer.
		r := request(
			write(
				t,
				map[string]string{
					"Dockerfile": "FROM scratch\nCOPY a /a\n",
					"a":          kind + strings.Repeat("some text ", 5000),
				},
			),
		)
		r.Image = host + "/acme/app"
		r.Options.Compression.Type, r.Options.Compression.Level, _ = strings.Cut(kind, ":")
		layers, err := pull(t, r.Image, publish(t, client, r)).Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("layers: got %d, error %v, want 1", len(layers), err)
		}
		if got, err := layers[0].MediaType(); err != nil || got != want {
			t.Errorf("%s: layer type: got %s, error %v, want %s", kind, got, err, want)
		}
		if sizes[kind], err = layers[0].Size(); err != nil {
			t.Fatal(err)
		}
	}
	if sizes["gzip:9"] >= sizes[""] {
		t.Errorf("gzip:9: got %d bytes, want fewer than the default's %d", sizes["gzip:9"], sizes[""])
	}
	if sizes["zstd"] >= sizes["uncompressed"] {
		t.Errorf("zstd: got %d bytes, want fewer than %d", sizes["zstd"], sizes["uncompressed"])
	}
	if sizes["uncompressed"] < 50_000 {
		t.Errorf("uncompressed: got %d bytes, want at least 50000", sizes["uncompressed"])
	}
}

// Attestations are pushed with the image, and every user of the image can read them. So the smaller
// provenance contains no build argument.
func TestProvenanceAndSBOMAreAttached(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	host := serveRegistry(t)
	scanner := request(withShell(t, write(t, map[string]string{
		"Dockerfile": shellStage +
			"COPY --chmod=755 scan /scan\nENTRYPOINT [\"/scan\"]\n",
		"scan": "#!/bin/sh\necho '{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"predicateType\":\"https://spdx.dev/Document\",\"predicate\":{\"name\":\"found-by-scan\"}}' > $BUILDKIT_SCAN_DESTINATION/a.spdx.json\n",
	})))
	scanner.Image = host + "/acme/scanner"
	tagAs(t, scanner.Image, publish(t, client, scanner), "1")

	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}))
	proxy := secret.New("http://ci:canary@proxy")
	r.Image = host + "/acme/app"
	r.Options = spec.BuildOptions{
		Provenance: "mode=min",
		SBOM:       "generator=" + scanner.Image + ":1",
		Proxies:    []spec.Proxy{{Name: "HTTP_PROXY", Value: proxy}},
	}
	list := index(t, r.Image, publish(t, client, r))
	manifest, err := list.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 {
		t.Fatalf("got %d manifests, want the image and its attestations", len(manifest.Manifests))
	}
	if got := manifest.Manifests[1].Annotations["vnd.docker.reference.type"]; got != "attestation-manifest" {
		t.Fatalf("type of the second manifest: got %q, want attestation-manifest", got)
	}
	attestations, err := list.Image(manifest.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := attestations.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("attestations: got %d, error %v, want 2", len(layers), err)
	}
	var all bytes.Buffer
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(&all, content)
		if content.Close(); err != nil {
			t.Fatal(err)
		}
	}
	text := all.String()
	for _, want := range []string{"found-by-scan", "slsa.dev/provenance"} {
		if !strings.Contains(text, want) {
			t.Errorf("attestations: got %s, want %q in them", text, want)
		}
	}
	if strings.Contains(text, "canary") {
		t.Errorf("attestations: got %s, want no proxy password in them", text)
	}
}
