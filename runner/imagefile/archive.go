package imagefile

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"

	"slipway/runner/sandbox"
)

// layoutFile matches the files of an OCI layout. No other files of an archive are unpacked.
var layoutFile = regexp.MustCompile(`^(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})$`)

// openArchive opens a tar archive of an OCI layout, or an archive of docker save. Newer versions of
// docker save write files for both forms; then the manifest that `docker load` reads has precedence.
func openArchive(name string, size int64) (i Image, err error) {
	file, err := os.Open(name)
	if err != nil {
		return i, err
	}
	defer file.Close()
	saved, isLayout, err := detectFormat(file)
	switch {
	case err != nil:
		return i, err
	case saved:
		i.Content, err = openSaved(name)
		return i, err
	case !isLayout:
		return i, errKind
	}
	temp, remove, err := sandbox.MakeTempDir("")
	if err != nil {
		return i, err
	}
	i.remove = remove
	if _, err = file.Seek(0, io.SeekStart); err == nil {
		err = unpack(file, temp, size)
	}
	if err == nil {
		i.Content, err = openLayout(temp)
	}
	return i, err
}

// detectFormat reports which top-level files an archive has: manifest.json of docker save, and
// index.json of an OCI layout.
func detectFormat(file io.ReadSeeker) (saved, isLayout bool, err error) {
	magic := make([]byte, 2)
	if _, err := io.ReadFull(file, magic); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		return false, false, errors.New("is compressed: decompress it first")
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return false, false, err
	}
	err = forEachFile(file, func(name string, header *tar.Header, _ io.Reader) error {
		document := name == "manifest.json" || name == "index.json"
		if document && header.Size > maxDocument {
			return fmt.Errorf("its %s is larger than 4 MiB", name)
		}
		saved = saved || name == "manifest.json"
		isLayout = isLayout || name == "index.json"
		return nil
	})
	return saved, isLayout, err
}

// unpack writes the files of a layout below dir. It writes at most size bytes, the size of the
// archive, because the sizes in the archive's headers are not trusted.
func unpack(file io.Reader, dir string, size int64) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o700); err != nil {
		return err
	}
	return forEachFile(file, func(name string, header *tar.Header, content io.Reader) error {
		if !layoutFile.MatchString(name) {
			return nil
		}
		size -= header.Size
		if size < 0 {
			return errors.New("its files are larger than the archive")
		}
		out, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.CopyN(out, content, header.Size)
		return errors.Join(err, out.Close())
	})
}

// forEachFile calls visit for each regular file of a tar archive, with its cleaned name. It stops at
// the first error of visit.
func forEachFile(file io.Reader, visit func(name string, header *tar.Header, content io.Reader) error) error {
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errKind, err)
		case header.Typeflag != tar.TypeReg:
			continue
		}
		if err := visit(path.Clean(header.Name), header, archive); err != nil {
			return err
		}
	}
}
