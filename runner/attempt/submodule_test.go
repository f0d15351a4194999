package attempt_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

// B12: the key in SSH_PRIVATE of the automated build's environment gives access to private submodules.
// Neither the log nor the image contains the key. Without it, the error names the variable to set.
func TestB12PrivateSubmoduleOfABuild(t *testing.T) {
	e := newEnv(t)
	server := e.Git.SSH(t)
	lib := e.Git.CommitTo(t, "lib", map[string]string{"greeting": "from a submodule\n"}, nil)
	e.Git.CommitTo(t, "app", map[string]string{
		"svc/Dockerfile": "FROM scratch\nCOPY . /\n",
		".gitmodules":    "[submodule \"lib\"]\n\tpath = lib\n\turl = " + server.URL("lib") + "\n",
	}, map[string]string{"lib": lib})
	b := e.Push(nil)
	if failed := e.must(b, spec.Failed, "config"); !strings.Contains(failed.Detail, "SSH_PRIVATE") {
		t.Errorf("without a key: detail: got %q, want SSH_PRIVATE in it", failed.Detail)
	}
	e.Edit = func(s *spec.Spec) {
		s.Environment = map[string]secret.Secret{
			"SSH_PRIVATE":     server.Key,
			"SSH_KNOWN_HOSTS": secret.New(server.KnownHosts),
		}
	}
	middle, greeting := strings.Split(server.Key.Reveal(), "\n")[2], ""
	e.Builder.OnBuild = func(context.Context) error {
		return filepath.WalkDir(
			e.Builder.Last().Context,
			func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				content, err := os.ReadFile(path)
				if strings.Contains(string(content), middle) {
					t.Errorf("build context: got the key in file %s, want it in no file", path)
				}
				if strings.HasSuffix(path, "/lib/greeting") {
					greeting = string(content)
				}
				return err
			},
		)
	}
	done := e.must(e.Push(map[string]string{"again": ""}), spec.Succeeded, "")
	log := done.Log
	if greeting != "from a submodule\n" {
		t.Errorf("greeting: got %q, want %q", greeting, "from a submodule\n")
	}
	runnertest.CheckLacks(t, "the log", log, middle)
	runnertest.CheckHas(t, "the log", log, "submodule lib is at commit "+lib)
}
