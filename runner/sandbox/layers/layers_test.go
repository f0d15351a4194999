package layers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// unpacker unpacks each blob to a file with the blob's digest.
type unpacker struct{ count int }

func (u *unpacker) Apply(
	_ context.Context, blob ocispecs.Descriptor, mounts []mount.Mount, _ ...diff.ApplyOpt,
) (ocispecs.Descriptor, error) {
	u.count++
	upper, _ := overlayOf(mounts)
	blob.Digest = diffID(blob.Digest)
	return blob, os.WriteFile(filepath.Join(upper, "file"), []byte(blob.Digest), 0o644)
}

func diffID(blob digest.Digest) digest.Digest { return digest.FromString("diff of " + blob.String()) }

// A builder has snapshots in a directory of its own.
type builder struct {
	t        *testing.T
	applier  diff.Applier
	unpacker *unpacker
	dir      string
	missed   int
}

func newBuilder(t *testing.T, pool Pool) *builder {
	t.Helper()
	b := &builder{t: t, unpacker: &unpacker{}, dir: t.TempDir()}
	pool.Missed = func() { b.missed++ }
	b.applier = pool.Wrap(b.unpacker)
	return b
}

func newPool(t *testing.T) Pool {
	t.Helper()
	p := Pool{Dir: t.TempDir()}
	if err := p.Open(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p Pool) writing() Pool {
	p.Write = true
	return p
}

// apply makes a snapshot of a layer, and returns its directory.
func (b *builder) apply(snapshot, blob string, parents ...string) string {
	b.t.Helper()
	upper := filepath.Join(b.dir, "runc-overlayfs", "snapshots", "snapshots", snapshot, "fs")
	if err := os.MkdirAll(upper, 0o755); err != nil {
		b.t.Fatal(err)
	}
	mounts := []mount.Mount{{Type: "bind", Source: upper}}
	if len(parents) > 0 {
		mounts = []mount.Mount{{
			Type:    "overlay",
			Options: []string{"index=off", "upperdir=" + upper, "lowerdir=" + strings.Join(parents, ":")},
		}}
	}
	desc := ocispecs.Descriptor{Digest: digest.FromString(blob), MediaType: ocispecs.MediaTypeImageLayerGzip}
	got, err := b.applier.Apply(b.t.Context(), desc, mounts)
	if err != nil {
		b.t.Fatal(err)
	}
	if want := diffID(desc.Digest); got.Digest != want {
		b.t.Errorf("digest of the files of %s: got %s, want %s", blob, got.Digest, want)
	}
	text, err := os.ReadFile(filepath.Join(upper, "file"))
	if err != nil {
		b.t.Fatal(err)
	}
	if want := diffID(desc.Digest); string(text) != want.String() {
		b.t.Errorf("file of %s: got %s, want %s", blob, text, want)
	}
	return upper
}

func TestALayerIsUnpackedOnce(t *testing.T) {
	pool := newPool(t)
	writer := newBuilder(t, pool.writing())
	base := writer.apply("1", "base")
	writer.apply("2", "top", base)

	reader := newBuilder(t, pool)
	base = reader.apply("7", "base")
	reader.apply("9", "top", base)
	if got := reader.unpacker.count; got != 0 {
		t.Errorf("layers that the reader unpacked: got %d, want 0", got)
	}
	if got := len(Links(reader.dir)); got != 2 {
		t.Errorf("links of the reader: got %d, want 2", got)
	}
	reader.apply("11", "other", base)
	if got := reader.missed; got != 1 {
		t.Errorf("missing layers: got %d, want 1", got)
	}
}

// Directories that a layer only implies get the mode of the parents' directories. So the same blob on
// other parents is another layer.
func TestALayerDependsOnItsParents(t *testing.T) {
	pool := newPool(t)
	writer := newBuilder(t, pool.writing())
	writer.apply("2", "top", writer.apply("1", "base"))
	reader := newBuilder(t, pool)
	reader.apply("2", "top")
	if got := reader.unpacker.count; got != 1 {
		t.Errorf("unpacked layers: got %d, want the one without parents", got)
	}
	other := reader.apply("3", "other base") // not in the pool
	reader.apply("4", "top", other)
	if got := reader.unpacker.count; got != 3 {
		t.Errorf("unpacked layers: got %d, want also the two on another base", got)
	}
	if got := len(Links(reader.dir)); got != 0 {
		t.Errorf("links: got %d, want 0", got)
	}
}

// A builder that was killed may have left files without their description.
func TestAnIncompleteLayerIsNotUsed(t *testing.T) {
	pool := newPool(t)
	newBuilder(t, pool.writing()).apply("1", "base")
	entries, err := pool.Entries()
	if err != nil || len(entries) != 1 {
		t.Fatalf("layers: got %v and %v, want one", entries, err)
	}
	if err := os.Remove(filepath.Join(pool.Dir, entries[0].Key+layerSuffix)); err != nil {
		t.Fatal(err)
	}
	reader := newBuilder(t, pool)
	reader.apply("1", "base")
	if got := reader.unpacker.count; got != 1 {
		t.Errorf("unpacked layers: got %d, want 1", got)
	}
	newBuilder(t, pool.writing()).apply("1", "base")
	if !pool.Has(filepath.Join(pool.Dir, entries[0].Key)) {
		t.Error("the layer after another writer: got none, want it complete")
	}
}

func TestTrimKeepsLinkedLayers(t *testing.T) {
	pool := newPool(t)
	writer := newBuilder(t, pool.writing())
	writer.apply("1", "unused")
	writer.apply("2", "used")
	reader := newBuilder(t, pool)
	used := reader.apply("1", "used")
	if err := pool.Trim([]string{reader.dir}, 0, os.RemoveAll); err != nil {
		t.Fatal(err)
	}
	entries, err := pool.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("layers: got %v, want the used one", entries)
	}
	if _, err := os.Stat(filepath.Join(used, "file")); err != nil {
		t.Errorf("file of the used layer: got %v, want it", err)
	}
}

func TestTrimDoesNotWaitForABuilder(t *testing.T) {
	pool := newPool(t)
	newBuilder(t, pool.writing()).apply("1", "unused")
	unlock, err := pool.lock(unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	remove := func(dir string) error { return errors.New("removed " + dir) }
	if err := pool.Trim(nil, 0, remove); err != nil {
		t.Errorf("got %v, want nothing removed", err)
	}
}

func TestPlanTrim(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	entries := []Entry{
		{Key: "new", Bytes: 10, Added: now},
		{Key: "old", Bytes: 10, Added: now.Add(-time.Hour)},
		{Key: "linked", Bytes: 10, Added: now.Add(-2 * time.Hour)},
	}
	linked := map[string]bool{"linked": true}
	for name, c := range map[string]struct {
		limit int64
		want  []string
	}{
		"enough": {30, nil},
		"one":    {29, []string{"old"}},
		"all":    {0, []string{"old", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, planTrim(entries, linked, c.limit)); diff != "" {
				t.Errorf("removed layers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOverlayOf(t *testing.T) {
	for name, c := range map[string]struct {
		mounts []mount.Mount
		upper  string
		lowers []string
	}{
		"without parents": {[]mount.Mount{{Type: "bind", Source: "/s/1/fs"}}, "/s/1/fs", nil},
		"with parents": {
			[]mount.Mount{{Type: "overlay", Options: []string{"workdir=/w", "upperdir=/u", "lowerdir=/a:/b"}}},
			"/u", []string{"/a", "/b"},
		},
		"read-only": {[]mount.Mount{{Type: "overlay", Options: []string{"lowerdir=/a:/b"}}}, "", []string{"/a", "/b"}},
		"several":   {make([]mount.Mount, 2), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			upper, lowers := overlayOf(c.mounts)
			if upper != c.upper {
				t.Errorf("upper: got %q, want %q", upper, c.upper)
			}
			if diff := cmp.Diff(c.lowers, lowers); diff != "" {
				t.Errorf("lowers (-want +got):\n%s", diff)
			}
		})
	}
}
