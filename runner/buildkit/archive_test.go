package buildkit_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"slipway/runner/spec"
)

// The pushed image is the same with and without an image file.
func TestAnImageIsWrittenToAFileBesides(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}))
	r.Image = serveRegistry(t) + "/acme/app"
	r.Options.Annotations = map[string]string{"a": "b"}
	plain := publish(t, client, r)
	for kind, want := range map[string]string{spec.ArchiveOCI: "index.json", spec.ArchiveDocker: "manifest.json", spec.ArchiveTar: "a"} {
		r.Options.Archive = spec.Archive{
			Type:  kind,
			Path:  filepath.Join(t.TempDir(), "file"),
			Names: []string{r.Image + ":1", r.Image + ":2"},
		}
		if got := publish(t, client, r); got != plain {
			t.Errorf("%s: got digest %s, want %s as without the file", kind, got, plain)
		}
		r.Publish = true
		if got := build(t, client, r); !got.Pushed || got.Digest != plain {
			t.Errorf("%s: the builder pushed %s: got %t, want digest %s", kind, got.Digest, got.Pushed, plain)
		}
		r.Publish = false
		files := archived(t, r.Options.Archive.Path)
		if _, ok := files[want]; !ok || (kind != spec.ArchiveTar) != strings.Contains(files[want], r.Image+":2") {
			t.Errorf(
				"%s: file %s: got %q of %d files, want image and tag in a Docker archive only",
				kind,
				want,
				files[want],
				len(files),
			)
		}
	}
}

func TestAFileIsNotWrittenThroughALink(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}))
	target, link := filepath.Join(t.TempDir(), "target"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	r.Options.Archive = spec.Archive{Type: spec.ArchiveTar, Path: link}
	_, err := client.Build(t.Context(), r)
	if _, statErr := os.Stat(target); err == nil || !errors.Is(statErr, os.ErrNotExist) {
		t.Errorf(
			"write through a link: got error %v and stat error %v, want an error and no file at the target",
			err,
			statErr,
		)
	}
}

func TestTimestampsAreNoNewerThanTheEpoch(t *testing.T) {
	needBuildKit(t)
	var digests []string
	for range 2 { // two builders, so that nothing is cached
		client := start(t, t.TempDir()).dial(t)
		r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}))
		r.Image = serveRegistry(t) + "/acme/app"
		r.BuildArgs, r.Options.RewriteTimestamp, r.Options.OCI = map[string]string{
			"SOURCE_DATE_EPOCH": "1700000000",
		}, true, true
		digests = append(digests, publish(t, client, r))
		layers := mutate.Extract(pull(t, r.Image, digests[0]))
		for files := tar.NewReader(layers); ; {
			header, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || header.ModTime.After(time.Unix(1700000000, 0)) {
				t.Fatalf("archive header: got %+v, error %v, want a time of %d at most", header, err, 1700000000)
			}
		}
		_ = layers.Close()
	}
	if digests[0] != digests[1] {
		t.Errorf("got digests %v of one commit, want the same digest", digests)
	}
}

// archived returns the files of a tar archive.
func archived(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for files := tar.NewReader(bytes.NewReader(data)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		all[header.Name] = string(text)
	}
}
