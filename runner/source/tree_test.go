package source_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/source"
)

func tree(t *testing.T) source.Tree {
	t.Helper()
	outer := t.TempDir()
	write(t, filepath.Join(outer, "secret", "Dockerfile"), "FROM outside\n")
	dir := filepath.Join(outer, "src")
	write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\n")
	write(t, filepath.Join(dir, "svc", "a", "Dockerfile"), "FROM scratch\n")
	for link, target := range map[string]string{
		"inside":       "svc/a/Dockerfile",
		"insidedir":    "svc/a",
		"outside":      "../secret/Dockerfile",
		"outsidedir":   "../secret",
		"absolute":     filepath.Join(outer, "secret", "Dockerfile"),
		"absoluteself": filepath.Join(dir, "Dockerfile"),
		"chain":        "svc/up",
		"svc/up":       "../outsidedir",
		"loop":         "loop",
		"dangling":     "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return source.Tree{Dir: dir}
}

// O5: paths out of the tree are refused in every spelling.
func TestO5PathsStayInTheTree(t *testing.T) {
	tr := tree(t)
	for _, p := range []string{
		"", "..", "../secret/Dockerfile", "svc/../../secret/Dockerfile", "/etc/passwd", `svc\a`, "a\x00b",
		"outside", "outsidedir/Dockerfile", "absolute", "absoluteself", "chain/Dockerfile", "loop", "dangling", "nowhere",
	} {
		for kind, resolve := range map[string]func(string) (string, error){"path": tr.Resolve, "file": tr.File, "directory": tr.Directory} {
			real, err := resolve(p)
			var fault *source.PathError
			if !errors.As(err, &fault) {
				t.Errorf("%s %q: got %q (%v), want a *PathError", kind, p, real, err)
				continue
			}
			if fault.Path != p {
				t.Errorf("%s %q: path in the error: got %q, want %q", kind, p, fault.Path, p)
			}
		}
	}
	_, err := tr.File("nowhere")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing file: got %v, want fs.ErrNotExist", err)
	}
	if !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("missing file: got %q, want that it does not exist", err)
	}
}

// O5: a link that changes its target during the check never resolves to a path outside the tree.
func TestO5ASwappedLinkNeverLeadsOut(t *testing.T) {
	tr := tree(t)
	top, err := filepath.EvalSymlinks(tr.Dir)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(tr.Dir, "swapped")
	stop, swapped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				swapped <- nil
				return
			default:
			}
			next := link + ".next"
			if err := os.Symlink([]string{"svc/a", "../secret"}[i%2], next); err != nil {
				swapped <- err
				return
			}
			if err := os.Rename(next, link); err != nil {
				swapped <- err
				return
			}
		}
	}()
	inside := 0
	for range 3000 {
		real, err := tr.File("swapped/Dockerfile")
		if err != nil {
			continue
		}
		inside++
		if real != filepath.Join(top, "svc", "a", "Dockerfile") {
			t.Errorf("resolved path: got %s, want svc/a/Dockerfile", real)
		}
	}
	close(stop)
	if err := <-swapped; err != nil || inside == 0 {
		t.Errorf("resolved paths in the tree: got %d, error %v, want some", inside, err)
	}
}

func TestPathsWithinTheTree(t *testing.T) {
	tr := tree(t)
	top, err := filepath.EvalSymlinks(tr.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{"Dockerfile": "Dockerfile", "svc/a/Dockerfile": "svc/a/Dockerfile", "inside": "svc/a/Dockerfile", "insidedir/Dockerfile": "svc/a/Dockerfile"} {
		if got, err := tr.File(p); err != nil || got != filepath.Join(top, want) {
			t.Errorf("File(%s): got %q, error %v, want %q", p, got, err, filepath.Join(top, want))
		}
		if _, err := tr.Directory(p); err == nil {
			t.Errorf("Directory(%s): got no error, want one", p)
		}
	}
	for p, want := range map[string]string{".": "", "svc": "svc", "insidedir": "svc/a"} {
		if got, err := tr.Directory(p); err != nil || got != filepath.Join(top, want) {
			t.Errorf("Directory(%s): got %q, error %v, want %q", p, got, err, filepath.Join(top, want))
		}
		if _, err := tr.File(p); err == nil {
			t.Errorf("File(%s): got no error, want one", p)
		}
	}
}

func TestTreeGone(t *testing.T) {
	tr := source.Tree{Dir: filepath.Join(t.TempDir(), "none")}
	if _, err := tr.Resolve("Dockerfile"); err == nil {
		t.Error("Resolve: got no error, want one")
	}
	if tr.HasSubmodules() {
		t.Error("HasSubmodules: got true, want false")
	}
}

// BuildKit uses a file dockerfile if there is no Dockerfile beside it.
func TestTheDockerfileIsFoundInLowerCase(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"both/Dockerfile", "both/dockerfile", "lower/dockerfile", "a folder/Dockerfile/x",
		"a folder/dockerfile", "lower/app.dockerfile"} {
		write(t, filepath.Join(dir, name), "")
	}
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, "")
	for _, name := range []string{"dockerfile", "Containerfile"} {
		if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	tr := source.Tree{Dir: dir}
	for p, want := range map[string]string{
		"both/Dockerfile":      "both/Dockerfile",
		"both/dockerfile":      "both/dockerfile",
		"lower/Dockerfile":     "lower/dockerfile",
		"a folder/Dockerfile":  "a folder/dockerfile",
		"lower/app.Dockerfile": "", // only the usual name
		"lower/DOCKERFILE":     "",
		"Dockerfile":           "", // the other file leads out
		"Containerfile":        "",
		"none/Dockerfile":      "",
	} {
		got, err := tr.Dockerfile(p)
		if want == "" {
			var fault *source.PathError
			if !errors.As(err, &fault) || fault.Path != p {
				t.Errorf("%s: got %q, error %v, want a *PathError of it", p, got, err)
			}
			continue
		}
		if err != nil || !strings.HasSuffix(got, "/"+want) {
			t.Errorf("%s: got %q, error %v, want %s", p, got, err, want)
		}
	}
}

func TestAnAbsolutePathInTheTreeIsRelative(t *testing.T) {
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	tr := source.Tree{Dir: link}
	for p, want := range map[string]string{
		filepath.Join(real, "app"): "app",
		filepath.Join(link, "app"): "app",
		real:                       ".",
		link:                       ".",
		real + "-other/app":        real + "-other/app",
		filepath.Dir(real):         filepath.Dir(real),
		"/":                        "/",
		"app":                      "app",
		"../app":                   "../app",
		".":                        ".",
	} {
		if got := tr.Relative(p); got != want {
			t.Errorf("%s: got %q, want %q", p, got, want)
		}
	}
}
