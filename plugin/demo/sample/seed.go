package sample

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// BaseImage is the name of the base image in a registry, without the host.
const BaseImage = "library/base:1"

// ErrNoBusybox means that this machine has no static busybox for the base image.
var ErrNoBusybox = errors.New("find busybox: not installed: install the package busybox-static")

// Busybox returns the path of the busybox program. It returns ErrNoBusybox if there is no busybox.
func Busybox() (string, error) {
	for _, path := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", ErrNoBusybox
}

// Seed pushes the base image to a registry (host:port) over plain HTTP. The image has a static busybox
// with its applets. If slipway is not empty, it also has that binary.
func Seed(ctx context.Context, registry, slipway string) error {
	busybox, err := Busybox()
	if err != nil {
		return err
	}
	layer, err := rootLayer(ctx, busybox, slipway)
	if err != nil {
		return fmt.Errorf("create the base image: %w", err)
	}
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2), layer)
	if err != nil {
		return fmt.Errorf("create the base image: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("create the base image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	config.Config.Cmd = []string{"sh"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return fmt.Errorf("create the base image: %w", err)
	}
	ref, err := name.ParseReference(registry+"/"+BaseImage, name.Insecure)
	if err != nil {
		return fmt.Errorf("name the base image: %w", err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("push the base image: %w", err)
	}
	return nil
}

// rootLayer returns a layer with /bin/busybox, a link for each applet, a few directories and
// /usr/local/bin/slipway.
func rootLayer(ctx context.Context, busybox, slipway string) (v1.Layer, error) {
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s: %w", busybox, err)
	}
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	dirs := []string{"bin", "etc", "proc", "root", "sys", "tmp", "usr", "usr/bin", "usr/local", "usr/local/bin"}
	for _, dir := range dirs {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode}); err != nil {
			return nil, err
		}
	}
	if err := addFile(tw, "bin/busybox", busybox); err != nil {
		return nil, err
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet == "busybox" {
			continue
		}
		link := &tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}
		if err := tw.WriteHeader(link); err != nil {
			return nil, err
		}
	}
	if slipway != "" {
		if err := addFile(tw, "usr/local/bin/slipway", slipway); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithCompressionLevel(1))
}

func addFile(tw *tar.Writer, as, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}
