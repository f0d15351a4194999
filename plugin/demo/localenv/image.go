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

// maxFile is the maximum size of a file that is read from an image, in bytes.
const maxFile = 1 << 20

// RegistryUser is the user name that goes with RegistryPassword.
const RegistryUser = "robot"

// Pull returns an image and its digest. image is name:tag or name@digest. The layers are not read
// yet.
func (env *Env) Pull(ctx context.Context, image string) (v1.Image, string, error) {
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return nil, "", fmt.Errorf("image %s: %w", image, err)
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuth(env.registryAuth()))
	if err != nil {
		return nil, "", fmt.Errorf("pull %s: %w", ref, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, "", fmt.Errorf("digest of %s: %w", ref, err)
	}
	return img, digest.String(), nil
}

// SeedImage copies the base image to another image name.
func (env *Env) SeedImage(ctx context.Context, image string) error {
	base, _, err := env.Pull(ctx, env.Registry+"/"+sample.BaseImage)
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return fmt.Errorf("image %s: %w", image, err)
	}
	return remote.Write(ref, base, remote.WithContext(ctx), remote.WithAuth(env.registryAuth()))
}

// ReadFile returns the content of one file in an image. path has no leading slash.
func ReadFile(img v1.Image, path string) (string, error) {
	content := mutate.Extract(img)
	defer content.Close()
	tr := tar.NewReader(content)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read /%s: the image has no such file", path)
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

func (env *Env) registryAuth() authn.Authenticator {
	if env.options.RegistryPassword.IsZero() {
		return authn.Anonymous
	}
	return authn.FromConfig(authn.AuthConfig{Username: RegistryUser, Password: env.options.RegistryPassword.Reveal()})
}

// guardRegistry requires the password if one is set. Base images, below library/, need no login, as
// at Docker Hub.
func (env *Env) guardRegistry(next http.Handler) http.Handler {
	want := env.options.RegistryPassword
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
