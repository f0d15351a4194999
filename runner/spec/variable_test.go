package spec_test

import (
	"strings"
	"testing"

	"slipway/runner/spec"
)

func TestO7Variables(t *testing.T) {
	for _, name := range []string{
		"LD_PRELOAD", "ld_library_path", "PATH", "BASH_ENV", "ENV", "GIT_SSH_COMMAND", "PLUGIN_TAGS", "SLIPWAY_RUNNER_TOKEN",
		"IMAGE_NAME", "DOCKER_CONFIG", "IFS", "A=B", "A B", "1A", "", "BASH_FUNC_ls%%", strings.Repeat("A", 129),
	} {
		err := spec.CheckVariable(name, "canary")
		if err == nil {
			t.Errorf("%q: got no error, want one", name)
			continue
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got error %v, want no value in it", name, err)
		}
	}
	if err := spec.CheckVariable("A", "b\x00c"); err == nil {
		t.Error("value with a NUL byte: got no error, want one")
	}
	for _, name := range []string{"NPM_TOKEN", "SSH_PRIVATE", "DOCKER_BUILDKIT", "_x", strings.Repeat("A", 128)} {
		if err := spec.CheckVariable(name, "multi\nline"); err != nil {
			t.Error(err)
		}
	}
}
