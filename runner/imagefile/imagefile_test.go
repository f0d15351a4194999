package imagefile_test

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"slipway/config/must"
	"slipway/runner/imagefile"
	"slipway/runner/registry"
)

// writeLayout writes an OCI layout of the images and returns its directory.
func writeLayout(t *testing.T, images ...v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	path := must.Get[layout.Path](t)(layout.Write(dir, empty.Index))
	for _, image := range images {
		if err := path.AppendImage(image); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// packTar returns a tar archive of a directory. edit may change an entry's header.
func packTar(t *testing.T, dir string, edit func(*tar.Header)) string {
	t.Helper()
	file := must.Get[*os.File](t)(os.Create(filepath.Join(t.TempDir(), "image.tar")))
	defer file.Close()
	out := tar.NewWriter(file)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content := must.Get[[]byte](t)(os.ReadFile(path))
		relative := must.Get[string](t)(filepath.Rel(dir, path))
		header := &tar.Header{Name: "./" + relative, Size: int64(len(content)), Mode: 0o644}
		edit(header)
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err = out.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func unchanged(*tar.Header) {}

func TestOpenReadsEachForm(t *testing.T) {
	image := must.Get[v1.Image](t)(random.Image(512, 2))
	digest := must.Get[v1.Hash](t)(image.Digest())
	size := must.Get[int64](t)(registry.Size(image))
	saved := filepath.Join(t.TempDir(), "saved.tar")
	tag := must.Get[name.Tag](t)(name.NewTag("app:1.2"))
	if err := tarball.WriteToFile(saved, tag, image); err != nil {
		t.Fatal(err)
	}
	dir := writeLayout(t, image)
	t.Setenv("TMPDIR", t.TempDir())
	for form, path := range map[string]string{"a layout": dir, "an archive of it": packTar(t, dir, unchanged), "what docker save wrote": saved} {
		t.Run(form, func(t *testing.T) {
			got, err := imagefile.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			content, ok := got.Content.(v1.Image)
			if !ok {
				t.Fatalf("content: got a %T, want an image", got.Content)
			}
			if err := validate.Image(content); err != nil {
				t.Errorf("it is not whole: %v", err)
			}
			// docker save keeps no manifest, so one is made.
			if form != "what docker save wrote" && (got.Digest != digest.String() || got.Size != size) {
				t.Errorf("image: got %s of %d bytes, want %s of %d", got.Digest, got.Size, digest, size)
			}
			if id := must.Get[v1.Hash](t)(content.ConfigName()); id != must.Get[v1.Hash](t)(image.ConfigName()) {
				t.Errorf("image ID: got %s, want the ID of the written image", id)
			}
			if err := got.Close(); err != nil {
				t.Error(err)
			}
			if left := must.Get[[]os.DirEntry](t)(os.ReadDir(os.TempDir())); len(left) != 0 {
				t.Errorf("temporary files: got %v, want none", left)
			}
		})
	}
}

func TestOpenReadsAWholeIndex(t *testing.T) {
	index := must.Get[v1.ImageIndex](t)(random.Index(512, 1, 3))
	dir := writeLayout(t)
	if err := layout.Path(dir).AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	got, err := imagefile.Open(packTar(t, dir, unchanged))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	switch is, ok := got.Content.(v1.ImageIndex); {
	case !ok:
		t.Errorf("content: got a %T, want an image index", got.Content)
	case got.Digest != must.Get[v1.Hash](t)(index.Digest()).String():
		t.Errorf("digest: got %s, want %s", got.Digest, must.Get[v1.Hash](t)(index.Digest()))
	case validate.Index(is) != nil:
		t.Errorf("validation of the image index: got error %v, want nil", validate.Index(is))
	}
}

func TestOpenErrorsNameTheReason(t *testing.T) {
	one, two := must.Get[v1.Image](t)(random.Image(64, 1)), must.Get[v1.Image](t)(random.Image(64, 1))
	several := filepath.Join(t.TempDir(), "several.tar")
	tags := map[name.Tag]v1.Image{
		must.Get[name.Tag](t)(name.NewTag("app:1")): one,
		must.Get[name.Tag](t)(name.NewTag("api:1")): two,
	}
	if err := tarball.MultiWriteToFile(several, tags); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(text, []byte("FROM scratch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := writeLayout(t, one)
	if err := os.WriteFile(filepath.Join(large, "index.json"), make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	zipped := filepath.Join(t.TempDir(), "image.tar.gz")
	file := must.Get[*os.File](t)(os.Create(zipped))
	writer := gzip.NewWriter(file)
	_, _ = io.WriteString(writer, "x")
	_, _ = writer.Close(), file.Close()
	t.Setenv("TMPDIR", t.TempDir())
	for want, path := range map[string]string{
		"no such file":             "/no/such/image.tar",
		"is neither an OCI layout": t.TempDir(),
		"nor an archive of docker": text,
		"has 2 images":             writeLayout(t, one, two),
		"it has 2 images":          several,
		"has 0 images":             writeLayout(t),
		"larger than 4 MiB":        large,
		"its index.json is larger": packTar(t, large, unchanged),
		"decompress it first":      zipped,
		"file exists":              packTar(t, writeLayout(t, one, two), func(h *tar.Header) { sameBlob(h) }),
	} {
		if _, err := imagefile.Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if left := must.Get[[]os.DirEntry](t)(os.ReadDir(os.TempDir())); len(left) != 0 {
		t.Errorf("temporary files: got %v, want none", left)
	}
}

// sameBlob renames all blobs of an archive to one name.
func sameBlob(h *tar.Header) {
	if strings.Contains(h.Name, "blobs/") {
		h.Name = "blobs/sha256/" + strings.Repeat("0", 64)
	}
}

// Names and links in an archive cannot point outside its target directory.
func TestUnpackingStaysInItsDirectory(t *testing.T) {
	dir := writeLayout(t, must.Get[v1.Image](t)(random.Image(64, 1)))
	if err := os.WriteFile(filepath.Join(dir, "evil"), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(top, "tmp"))
	if err := os.Mkdir(filepath.Join(top, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"../../evil", "/../evil", "blobs/sha256/../../../../evil", "blobs/sha256/evil"} {
		image, err := imagefile.Open(packTar(t, dir, func(h *tar.Header) {
			if h.Name == "./evil" {
				h.Name = where
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if d.Name() == "evil" {
				t.Errorf("%s: got file %s outside the directory, want none", where, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("not a tar"))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, content []byte) {
		t.Setenv("TMPDIR", t.TempDir())
		path := filepath.Join(t.TempDir(), "image.tar")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		image, err := imagefile.Open(path)
		if err == nil && (image.Content == nil || !strings.HasPrefix(image.Digest, "sha256:")) {
			t.Errorf("image: got %+v, want content and a SHA-256 digest", image)
		}
		if err == nil {
			err = image.Close()
		}
		if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
			t.Errorf("temporary files after error %v: got %v, want none", err, left)
		}
	})
}
