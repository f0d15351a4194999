package sample_test

import (
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/plugin/demo/sample"
)

func TestFilesNameTheRegistry(t *testing.T) {
	files, err := sample.Files("127.0.0.1:5000")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(files["Dockerfile"], "FROM 127.0.0.1:5000/"+sample.BaseImage); got != 2 {
		t.Errorf("Dockerfile: got %d stages from the registry, want 2:\n%s", got, files["Dockerfile"])
	}
	if files["greeting.txt"] == "" {
		t.Error("greeting.txt: got none, want one")
	}
}

func TestSeed(t *testing.T) {
	if _, err := sample.Busybox(); errors.Is(err, sample.ErrNoBusybox) {
		t.Skip("SKIPPED: ", err)
	}
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := sample.Seed(t.Context(), host, self); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host+"/"+sample.BaseImage, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" {
		t.Errorf("operating system: got %q, want linux", config.OS)
	}
	if got := len(config.RootFS.DiffIDs); got != 1 {
		t.Errorf("layers: got %d, want 1", got)
	}
}

func TestSeedReportsAnUnreachableRegistry(t *testing.T) {
	if _, err := sample.Busybox(); errors.Is(err, sample.ErrNoBusybox) {
		t.Skip("SKIPPED: ", err)
	}
	err := sample.Seed(t.Context(), "127.0.0.1:1", "")
	if err == nil || !strings.Contains(err.Error(), "push the base image") {
		t.Errorf("seed: got error %v, want one about the push", err)
	}
}
