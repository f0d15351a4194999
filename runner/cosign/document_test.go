package cosign

import (
	"strings"
	"testing"
)

func TestDockerHubHasTheSameNameAsInCosign(t *testing.T) {
	digest := "sha256:" + strings.Repeat("4f", 32)
	text, err := document("docker.io/acme/app", digest, nil)
	want := `{"critical":{"identity":{"docker-reference":"index.docker.io/acme/app"},"image":{"docker-manifest-digest":"` + digest +
		`"},"type":"cosign container image signature"},"optional":null}`
	if err != nil || string(text) != want {
		t.Errorf("document: got %s, error %v, want %s", text, err, want)
	}
}
