package demo

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// maxFile bounds what is read of a file in an image.
const maxFile = 1 << 20

// verifyImage pulls a tag, compares its digest with the build's and its files with those of
// the commit that was built: /app/source.txt as it was, /app/greeting.txt in capitals.
func verifyImage(ctx context.Context, image, tag, digest, greeting string) error {
	ref, err := name.NewTag(image+":"+tag, name.Insecure)
	if err != nil {
		return fmt.Errorf("name of the image: %w", err)
	}
	img, err := remote.Image(ref, remote.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	got, err := img.Digest()
	if err != nil {
		return fmt.Errorf("digest of %s: %w", ref, err)
	}
	if got.String() != digest {
		return fmt.Errorf("%s is %s, but the build says %s", ref, got, digest)
	}
	for path, want := range map[string]string{"app/source.txt": greeting, "app/greeting.txt": strings.ToUpper(greeting)} {
		content, err := readFile(img, path)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		if content != want {
			return fmt.Errorf("%s: /%s is %q, want %q", ref, path, content, want)
		}
	}
	return nil
}

// readFile reads one file of an image's file system.
func readFile(img v1.Image, path string) (string, error) {
	content := mutate.Extract(img)
	defer content.Close()
	tr := tar.NewReader(content)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("/%s is not in the image", path)
		}
		if err != nil {
			return "", fmt.Errorf("read the image's files: %w", err)
		}
		if strings.TrimPrefix(h.Name, "/") != path {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(tr, maxFile))
		if err != nil {
			return "", fmt.Errorf("read /%s: %w", path, err)
		}
		return string(data), nil
	}
}
