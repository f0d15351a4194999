package buildkit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
)

// builders starts each kind of builder whose cache outlives a build, and of builder that reads the context itself.
func builders(t *testing.T) map[string]func(t *testing.T, context string) *buildkit.Client {
	t.Helper()
	return map[string]func(t *testing.T, context string) *buildkit.Client{
		"a builder on a socket": func(t *testing.T, _ string) *buildkit.Client {
			t.Helper()
			return start(t, t.TempDir()).dial(t)
		},
		"a step's builder with a kept cache": func(t *testing.T, context string) *buildkit.Client {
			t.Helper()
			return dialChild(t, sandbox.ChildOptions{Context: context, State: t.TempDir()})
		},
		"a step's builder": func(t *testing.T, context string) *buildkit.Client {
			t.Helper()
			return dialChild(t, sandbox.ChildOptions{Context: context})
		},
	}
}

// writeDated writes a file with a fixed date.
func writeDated(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	date := time.Unix(1767225600, 0)
	if err := os.Chtimes(path, date, date); err != nil {
		t.Fatal(err)
	}
}

// The image has what the context holds, also if a file of an earlier build has the same size and date.
func TestAChangedFileOfTheSameSizeAndDateIsInTheImage(t *testing.T) {
	needBuildKit(t)
	for name, open := range builders(t) {
		t.Run(name, func(t *testing.T) {
			r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY VERSION /VERSION\n"}))
			r.Image = serveRegistry(t) + "/acme/app"
			client := open(t, r.Context)
			for i, version := range []string{"1.2.3", "1.2.4", "1.2.5"} {
				writeDated(t, filepath.Join(r.Context, "VERSION"), version)
				r.NoCache = i == 2
				if got := pushed(t, client, r)["VERSION"]; got != version {
					t.Errorf("build %d: got %q, want %q", i+1, got, version)
				}
			}
		})
	}
}

// The Dockerfile and .dockerignore are read again too.
func TestAChangedDockerfileOfTheSameSizeAndDateIsUsed(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(write(t, map[string]string{"a": "of a", "b": "of b", "c": "of c"}))
	r.Image = serveRegistry(t) + "/acme/app"
	for _, c := range []struct{ dockerfile, ignore, want string }{
		{"FROM scratch\nCOPY [ab] /\nLABEL x=1\n", "a", "b"},
		{"FROM scratch\nCOPY [ab] /\nLABEL x=1\n", "b", "a"},
		{"FROM scratch\nCOPY [cb] /\nLABEL x=1\n", "b", "c"},
	} {
		writeDated(t, filepath.Join(r.Context, "Dockerfile"), c.dockerfile)
		writeDated(t, filepath.Join(r.Context, ".dockerignore"), c.ignore)
		got := pushed(t, client, r)
		if _, ok := got[c.want]; !ok || len(got) != 1 {
			t.Errorf("files of the image: got %v, want %s alone", got, c.want)
		}
	}
}

// Builds of several directories of one repository have the same key.
func TestTwoContextsOfOneImageDoNotMix(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	host := serveRegistry(t)
	for _, name := range []string{"a", "b"} {
		r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY . /\n", "only-in-" + name: ""}))
		r.Image, r.SharedKey = host+"/acme/app", "https://bitbucket.example.com/acme/app"
		writeDated(t, filepath.Join(r.Context, "install.sh"), "from "+name)
		want := map[string]string{
			"Dockerfile": "FROM scratch\nCOPY . /\n", "only-in-" + name: "", "install.sh": "from " + name,
		}
		if diff := cmp.Diff(want, pushed(t, client, r)); diff != "" {
			t.Errorf("image of %s (-want +got):\n%s", name, diff)
		}
	}
}

// pushed builds and pushes an image and returns its files.
func pushed(t *testing.T, client *buildkit.Client, r buildkit.Request) map[string]string {
	t.Helper()
	image := build(t, client, r)
	if err := client.Push(t.Context(), r, image.Digest); err != nil {
		t.Fatal(err)
	}
	return files(t, r.Image, image.Digest)
}

// BuildKit does not note that the mode of an existing directory has changed.
func TestAChangedModeOfADirectoryIsSeen(t *testing.T) {
	needBuildKit(t)
	for name, open := range builders(t) {
		t.Run(name, func(t *testing.T) {
			r := request(withShell(t, write(t, map[string]string{
				"Dockerfile": shellStage + "COPY . /all\nRUN busybox stat -c 'mode is %a' /all/dir\n",
				"dir/f":      "",
			})))
			client := open(t, r.Context)
			for mode, want := range map[os.FileMode]string{0o755: "mode is 755", 0o700: "mode is 700"} {
				if err := os.Chmod(filepath.Join(r.Context, "dir"), mode); err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				r.Progress = &log
				build(t, client, r)
				if !strings.Contains(log.String(), want) {
					t.Errorf("log: got:\n%s\nwant %q in it", &log, want)
				}
			}
		})
	}
}

// An unchanged context gives cached steps, although its files are sent again.
func TestAnUnchangedContextIsCached(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY . /\n", "a": "a", "d/b": "b"}))
	first := build(t, client, r)
	date := time.Unix(1767225600, 0)
	if err := os.Chtimes(filepath.Join(r.Context, "a"), date, date); err != nil {
		t.Fatal(err)
	}
	second := build(t, client, r)
	if second.Digest != first.Digest {
		t.Errorf("digest: got %s, want %s", second.Digest, first.Digest)
	}
	if second.Cached != second.Steps {
		t.Errorf("cached steps: got %d of %d, want all", second.Cached, second.Steps)
	}
}
