package localenv

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/plugin/demo/sample"
)

// maxFile bounds what is read of a file in an image.
const maxFile = 1 << 20

// RegistryUser is who RegistryPassword lets in.
const RegistryUser = "robot"

// Pull fetches an image by tag or digest, as name:tag or name@digest, and returns it with
// its digest. Nothing of its layers is read yet.
func (w *Env) Pull(ctx context.Context, image string) (v1.Image, string, error) {
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return nil, "", fmt.Errorf("name of the image: %w", err)
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuth(w.registryAuth()))
	if err != nil {
		return nil, "", fmt.Errorf("pull %s: %w", ref, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, "", fmt.Errorf("digest of %s: %w", ref, err)
	}
	return img, digest.String(), nil
}

// SeedImage copies the base image to a further name.
func (w *Env) SeedImage(ctx context.Context, image string) error {
	base, _, err := w.Pull(ctx, w.Registry+"/"+sample.BaseImage)
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return fmt.Errorf("name of the image: %w", err)
	}
	return remote.Write(ref, base, remote.WithContext(ctx), remote.WithAuth(w.registryAuth()))
}

// ReadFile reads one file of an image's file system.
func ReadFile(img v1.Image, path string) (string, error) {
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

func (w *Env) registryAuth() authn.Authenticator {
	if w.options.RegistryPassword.IsZero() {
		return authn.Anonymous
	}
	return authn.FromConfig(authn.AuthConfig{Username: RegistryUser, Password: w.options.RegistryPassword.Reveal()})
}

// guardRegistry asks for the password where one is set. Base images, below library/, are
// open to all, as at Docker Hub.
func (w *Env) guardRegistry(next http.Handler) http.Handler {
	want := w.options.RegistryPassword
	if want.IsZero() {
		return next
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if strings.HasPrefix(r.URL.Path, "/v2/library/") || (user == RegistryUser && password == want.Reveal()) {
			next.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		http.Error(
			rw,
			`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`,
			http.StatusUnauthorized,
		)
	})
}
