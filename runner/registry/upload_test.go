package registry_test

import (
	"errors"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/runner/registry"
)

// Upload stores images and indexes by digest, and Tag finds them.
func TestUploadMovesNoTag(t *testing.T) {
	f := serve(t)
	c := client(registry.Options{})
	img, err := random.Image(64, 2)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []remote.Taggable{img, idx} {
		digest, err := what.(interface{ Digest() (v1.Hash, error) }).Digest()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // repeating it is harmless
			if err := c.Upload(t.Context(), f.image(), digest.String(), what, registry.Login{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Digest(
			t.Context(),
			f.image(),
			"latest",
			registry.Login{},
		); !errors.Is(
			err,
			registry.ErrNotFound,
		) {
			t.Errorf("tag before Tag: got error %v, want %v", err, registry.ErrNotFound)
		}
		if err := c.Tag(
			t.Context(),
			f.image(),
			registry.Manifest{Digest: digest.String()},
			"t",
			registry.Login{},
		); err != nil {
			t.Error(err)
		}
	}
	if err := c.Upload(t.Context(), "A B", "", img, registry.Login{}); err == nil {
		t.Error("Upload to an invalid name: got no error, want one")
	}
}
