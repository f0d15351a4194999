package runner_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

// B12: SSH_PRIVATE of the automated build's environment opens private submodules. The key is in
// neither the log nor the image, and without it the build fails with what to set.
func TestB12PrivateSubmoduleOfABuild(t *testing.T) {
	w := newWorld(t)
	server := w.git.SSH(t)
	lib := w.git.CommitTo(t, "lib", map[string]string{"greeting": "from a submodule\n"}, nil)
	w.git.CommitTo(t, "app", map[string]string{
		"svc/Dockerfile": "FROM scratch\nCOPY . /\n",
		".gitmodules":    "[submodule \"lib\"]\n\tpath = lib\n\turl = " + server.URL("lib") + "\n",
	}, map[string]string{"lib": lib})
	b := w.push(nil)
	if failed := w.must(b, autobuild.Failed, autobuild.ReasonConfig); !strings.Contains(failed.Detail, "SSH_PRIVATE") {
		t.Errorf("without a key: %s", failed.Detail)
	}
	w.edit = func(s *spec.Spec) {
		s.Environment = map[string]secret.Secret{
			"SSH_PRIVATE":     server.Key,
			"SSH_KNOWN_HOSTS": secret.New(server.KnownHosts),
		}
	}
	middle, greeting := strings.Split(server.Key.Reveal(), "\n")[2], ""
	w.builder.inside = func(context.Context) error {
		return filepath.WalkDir(
			w.builder.requests[len(w.builder.requests)-1].Context,
			func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				content, err := os.ReadFile(path)
				if strings.Contains(string(content), middle) {
					t.Errorf("%s of the build context holds the key", path)
				}
				if strings.HasSuffix(path, "/lib/greeting") {
					greeting = string(content)
				}
				return err
			},
		)
	}
	done := w.must(w.push(map[string]string{"again": ""}), autobuild.Succeeded, "")
	if log := w.log(
		done,
	); greeting != "from a submodule\n" || strings.Contains(log, middle) ||
		!strings.Contains(log, "submodule lib is at commit "+lib) {
		t.Errorf("greeting %q; log:\n%s", greeting, log)
	}
}
