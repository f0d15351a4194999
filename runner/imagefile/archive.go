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
)

// part is what a layout is made of; nothing else of an archive is unpacked.
var part = regexp.MustCompile(`^(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})$`)

// openArchive tells an archive of a layout from what docker save wrote. Newer ones are both;
// then what `docker load` would read goes before.
func openArchive(name string, size int64) (i Image, err error) {
	file, err := os.Open(name)
	if err != nil {
		return i, err
	}
	defer file.Close()
	saved, laid, err := kinds(file)
	switch {
	case err != nil:
		return i, err
	case saved:
		i.Content, err = openSaved(name)
		return i, err
	case !laid:
		return i, errKind
	}
	if i.unpack, err = os.MkdirTemp("", "slipway-image-*"); err != nil {
		return i, err
	}
	if _, err = file.Seek(0, io.SeekStart); err == nil {
		err = unpack(file, i.unpack, size)
	}
	if err == nil {
		i.Content, err = openLayout(i.unpack)
	}
	return i, err
}

// kinds looks which files an archive has at its top.
func kinds(file io.ReadSeeker) (saved, laid bool, err error) {
	magic := make([]byte, 2)
	if _, err := io.ReadFull(file, magic); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		return false, false, errors.New("is compressed: give it as it was before gzip")
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return false, false, err
	}
	return saved, laid, each(file, func(name string, header *tar.Header, _ io.Reader) error {
		document := name == "manifest.json" || name == "index.json"
		if document && header.Size > maxDocument {
			return fmt.Errorf("its %s is larger than 4 MiB", name)
		}
		saved, laid = saved || name == "manifest.json", laid || name == "index.json"
		return nil
	})
}

// unpack writes the parts of a layout below dir: no more bytes than the archive has, whatever
// it says of itself.
func unpack(file io.Reader, dir string, size int64) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o700); err != nil {
		return err
	}
	return each(file, func(name string, header *tar.Header, content io.Reader) error {
		if !part.MatchString(name) {
			return nil
		}
		if size -= header.Size; size < 0 {
			return errors.New("its files are larger than it is")
		}
		out, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.CopyN(out, content, header.Size)
		return errors.Join(err, out.Close())
	})
}

// each visits the regular files of an archive.
func each(file io.Reader, visit func(name string, header *tar.Header, content io.Reader) error) error {
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
