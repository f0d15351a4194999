package step_test

import (
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

// Docker Hub runs test files, and fetches the files of Git LFS. The step does neither, and says so.
func TestFilesThatTheStepDoesNotUseAreNamed(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 12345\n"
	const tests, lfs = "the step runs no tests", "Git LFS pointer"
	for name, c := range map[string]struct {
		files       map[string]string
		want, lacks []string
	}{
		"both": {
			map[string]string{"docker-compose.test.yml": "sut: {}\n", "data/model.bin": pointer},
			[]string{"note: docker-compose.test.yml: " + tests, "has 1 " + lfs + " in place of files, for example data/model.bin"},
			nil,
		},
		"an ignored pointer": {
			map[string]string{"data/model.bin": pointer, ".dockerignore": "data\n"}, nil, []string{lfs},
		},
		"a test file of another folder": {
			map[string]string{"app/docker-compose.test.yml": "sut: {}\n"}, nil, []string{tests},
		},
	} {
		c.files["Dockerfile"] = "FROM scratch\n"
		log, err := newEnv(t).run("CI_WORKSPACE=" + runnertest.Workspace(t, c.files))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, line := range c.want {
			runnertest.CheckHas(t, name, log, line)
		}
		for _, line := range c.lacks {
			runnertest.CheckLacks(t, name, log, line)
		}
	}
}
