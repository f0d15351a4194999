package builder

import (
	"io"
	"maps"
	"os"
	"strings"
	"syscall"

	"github.com/moby/buildkit/client"

	"slipway/runner/spec"
)

// exports are the file that the image is written to besides, and the image, which stays with the
// builder until it is pushed: the digest that the builder names is the last one's.
func (r Request) exports() []client.ExportEntry {
	image := client.ExportEntry{Type: client.ExporterImage, Attrs: r.exporterAttrs()}
	archive := r.Options.Archive
	if archive.Type == "" {
		return []client.ExportEntry{image}
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
	file := client.ExportEntry{Type: archive.Type, Attrs: attrs, Output: func(map[string]string) (io.WriteCloser, error) {
		// a link in its place is the repository's doing
		return os.OpenFile(archive.Path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|syscall.O_NOFOLLOW, 0o644) //nolint:gosec // the pipeline's own file, for the steps after this one
	}}
	return []client.ExportEntry{file, image}
}
