package buildkit_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/source/sourcetest"
	"slipway/runner/spec"
)

// One build covers the Dockerfile features that have no test of their own.
func TestBindMountsLinksAndARGInFROM(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(withShell(t, write(t, map[string]string{
		"Dockerfile": "# syntax=docker/dockerfile:1\nARG STAGE=absent\n" + shellStage +
			"FROM ${STAGE} AS made\nRUN --mount=type=bind,source=a,target=/mnt/a busybox cp /mnt/a /copied && [ -f /mnt/a ]\n" +
			"RUN --mount=type=tmpfs,target=/scratch busybox touch /scratch/x\n" +
			"FROM scratch\nCOPY --link --from=made /copied /linked\nCOPY --link --chmod=640 --chown=7:8 a /a\n" +
			"COPY --parents deep/*/f /\nCOPY <<EOF /heredoc\nwritten here\nEOF\n",
		"a": "text of a", "deep/er/f": "f",
	})))
	r.Image, r.BuildArgs = serveRegistry(t)+"/acme/app", map[string]string{"STAGE": "shell"}
	got := files(t, r.Image, publish(t, client, r))
	for path, want := range map[string]string{"linked": "text of a", "a": "text of a", "deep/er/f": "f", "heredoc": "written here\n"} {
		if got[path] != want {
			t.Errorf("file %s: got %q, want %q", path, got[path], want)
		}
	}
	if _, found := got["scratch/x"]; found {
		t.Error("files of the image: got scratch/x of a tmpfs mount, want none")
	}
}

// A base image may contain instructions that run in the builds of its derived images.
func TestONBUILD(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	client := start(t, t.TempDir()).dial(t)
	base := request(
		withShell(
			t,
			write(
				t,
				map[string]string{
					"Dockerfile": shellStage + "ONBUILD COPY app /app\nONBUILD RUN busybox cp /app /made-of-it\n",
				},
			),
		),
	)
	base.Image = host + "/library/onbuild"
	tagAs(t, base.Image, publish(t, client, base), "latest")
	r := request(write(t, map[string]string{"Dockerfile": "FROM " + base.Image + "\n", "app": "the app"}))
	r.Image = host + "/acme/app"
	if got := files(t, r.Image, publish(t, client, r)); got["app"] != "the app" || got["made-of-it"] != "the app" {
		t.Errorf(`files: got app %q and made-of-it %q, want "the app" in both`, got["app"], got["made-of-it"])
	}
}

// ADD accepts a file from a server only if its checksum matches the Dockerfile. The builder of this
// test may connect to this machine, which is denied by default.
func TestADDOverHTTPWithAChecksum(t *testing.T) {
	needBuildKit(t)
	text := "what was published"
	site := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }),
	)
	t.Cleanup(site.Close)
	client := start(t, t.TempDir(), "--network", "host").dial(t)
	r := request(
		write(
			t,
			map[string]string{"Dockerfile": "FROM scratch\nARG SUM\nADD --checksum=$SUM " + site.URL + "/file /file\n"},
		),
	)
	r.Image = serveRegistry(t) + "/acme/app"
	r.BuildArgs = map[string]string{"SUM": fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))}
	if got := files(t, r.Image, publish(t, client, r))["file"]; got != text {
		t.Errorf("file: got %q, want %q", got, text)
	}
	r.BuildArgs["SUM"] = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("other")))
	if _, err := client.Build(t.Context(), r); err == nil || !strings.Contains(err.Error(), "digest mismatch") {
		t.Errorf("a file with another checksum: got %v, want a digest mismatch", err)
	}
}

// ADD reads a commit of a private repository with the secret that BuildKit requests.
func TestADDOfAGitRepositoryAtACommit(t *testing.T) {
	needBuildKit(t)
	remote := sourcetest.New(t)
	first := remote.Commit(t, map[string]string{"lib/file": "first"})
	remote.Commit(t, map[string]string{"lib/file": "second"})
	client := start(t, t.TempDir(), "--network", "host").dial(t)
	r := request(
		write(
			t,
			map[string]string{
				"Dockerfile": "FROM scratch\nARG COMMIT\nADD " + remote.URL + "/app/.git#${COMMIT}:lib /lib\n",
			},
		),
	)
	r.Image, r.BuildArgs = serveRegistry(t)+"/acme/app", map[string]string{"COMMIT": first}
	_, err := client.Build(t.Context(), r)
	if err == nil {
		t.Fatal("a private repository without a credential: got no error, want one")
	}
	if line := err.Error(); !strings.Contains(line, "; exit status 128") || strings.Contains(line, "\n") {
		t.Errorf("error of git: got %q, want one line with git's words", line)
	}
	credential := sourcetest.Credential()
	header := "basic " + basic(credential.Username, credential.Password.Reveal())
	r.Options.Secrets = []spec.BuildSecret{{ID: "GIT_AUTH_HEADER", Value: secret.New(header)}}
	if got := files(t, r.Image, publish(t, client, r))["lib/file"]; got != "first" {
		t.Errorf("file of the Git context: got %q, want the file of the first commit", got)
	}
}

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// File names are bytes on Linux. An archive from an older system may contain Latin-1 names.
func TestFileNamesNeedNotBeUTF8(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY menu /menu\n", "menu/caf\xe9": "noir"}))
	r.Image = host + "/acme/app"
	client := start(t, t.TempDir()).dial(t)
	image := build(t, client, r)
	if err := client.Push(t.Context(), r, image.Digest); err != nil {
		t.Fatal(err)
	}
	if got := files(t, r.Image, image.Digest)["menu/caf\xe9"]; got != "noir" {
		t.Errorf(`file: got %q, want "noir"`, got)
	}
}
