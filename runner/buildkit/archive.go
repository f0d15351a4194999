package buildkit

import (
	"io"
	"maps"
	"os"
	"strings"
	"syscall"

	"github.com/moby/buildkit/client"

	"slipway/runner/spec"
)

// exports returns the exports of a build: the archive file, if any, and the image. The builder keeps
// the image until it is pushed. The image comes last, because BuildKit returns the digest of the last
// export. With r.NoExport there is no image, and BuildKit compresses layers only for the file.
func (r Request) exports() []client.ExportEntry {
	image := client.ExportEntry{Type: client.ExporterImage, Attrs: r.exporterAttrs()}
	archive := r.Options.Archive
	images := []client.ExportEntry{image}
	if r.NoExport {
		images = nil
	}
	if archive.Type == "" {
		return images
	}
	attrs := map[string]string{}
	if archive.Type != spec.ArchiveTar {
		attrs = maps.Clone(image.Attrs)
		attrs["name"] = strings.Join(archive.Names, ",")
		if archive.Type == spec.ArchiveDocker {
			attrs["oci-mediatypes"] = "false"
			maps.DeleteFunc(attrs, func(name, _ string) bool { return strings.HasPrefix(name, "annotation") })
		}
	}
	file := client.ExportEntry{
		Type:  archive.Type,
		Attrs: attrs,
		Output: func(map[string]string) (io.WriteCloser, error) {
			// O_NOFOLLOW: the repository may contain a symbolic link with this name.
			const flags = os.O_CREATE | os.O_TRUNC | os.O_WRONLY | syscall.O_NOFOLLOW
			return os.OpenFile(archive.Path, flags, 0o644) //nolint:gosec // later steps of the pipeline read the file
		},
	}
	return append([]client.ExportEntry{file}, images...)
}
