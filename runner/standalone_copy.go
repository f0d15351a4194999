package runner

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"slipway/runner/imagefile"
	"slipway/runner/registry"
	"slipway/runner/source"
)

// A copier is the builder of a step that only pushes: what it is asked to build is an image
// that is there, in a registry or in a file, and stays as it is.
type copier struct {
	r     *standalone
	found registry.Found  // in a registry, else
	file  imagefile.Image // in the workspace or beside it
}

var _ Builder = (*copier)(nil)

// Build finds the image.
func (c *copier) Build(ctx context.Context, r ImageRequest) (Image, error) {
	from := c.r.s.Copy
	if from.File != "" {
		return c.open(from.File)
	}
	var err error
	name, _, _ := strings.Cut(from.Reference, "@")
	if name == from.Reference {
		name = name[:strings.LastIndex(name, ":")]
	}
	if c.found, err = c.r.registry.Find(ctx, from.Reference, registry.LoginFor(name, r.Registries)); err != nil {
		return Image{}, noSource(from.Reference, err)
	}
	return Image{Digest: c.found.Digest, Size: c.found.Size}, nil
}

// open reads a file. A path from the workspace stays there, whatever the repository links to.
func (c *copier) open(path string) (_ Image, err error) {
	if !filepath.IsAbs(path) {
		top, err := filepath.Abs(c.r.s.Workspace)
		if err != nil {
			return Image{}, err
		}
		if path, err = (source.Tree{Dir: top}).Resolve(path); err != nil {
			return Image{}, fmt.Errorf("PLUGIN_SOURCE_IMAGE: the file %w", err)
		}
	}
	if c.file, err = imagefile.Open(path); err != nil {
		return Image{}, fmt.Errorf("PLUGIN_SOURCE_IMAGE: %w", err)
	}
	return Image{Digest: c.file.Digest, Size: c.file.Size}, nil
}

// Push sends the image to where the request says.
func (c *copier) Push(ctx context.Context, r ImageRequest, digest string) error {
	to := registry.LoginFor(r.Image, r.Registries)
	if c.file.Content != nil {
		return c.r.registry.Upload(ctx, r.Image, digest, c.file.Content, to)
	}
	return c.r.registry.Copy(ctx, c.found, r.Image, registry.LoginFor(c.found.Image, r.Registries), to)
}

func (c *copier) Close() error { return c.file.Close() }

// noSource says what may be wrong with a source in a registry.
func noSource(reference string, err error) error {
	var refused *registry.UnauthorizedError
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return fmt.Errorf(
			"PLUGIN_SOURCE_IMAGE: %s is not there; an image that an earlier step left in a Docker daemon is not seen here: "+
				"push it, or save it to a file and give its path: %w",
			reference,
			err,
		)
	case errors.As(err, &refused):
		return fmt.Errorf("PLUGIN_SOURCE_IMAGE: %s may not be read with the logins of this step: %w", reference, err)
	}
	return fmt.Errorf("PLUGIN_SOURCE_IMAGE: %w", err)
}

// making is the stage in which the image comes to be known.
func (r *standalone) making() string {
	if r.s.Copy.On {
		return "find"
	}
	return "build"
}

// doing begins the sentence of a status.
func (r *standalone) doing() string {
	if r.s.Copy.On {
		return "Copies "
	}
	return "Builds "
}
