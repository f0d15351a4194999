package buildkit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/buildkit"
)

// A common mistake in a Dockerfile is one sentence with the line, the path and the fix.
func TestCommonMistakes(t *testing.T) {
	needBuildKit(t)
	mirror := serveRegistry(t) // Docker Hub without an image
	client := start(t, t.TempDir(), "--mirror", "http://"+mirror+"/").dial(t)
	for name, c := range map[string]struct {
		dockerfile string
		target     string
		files      map[string]string
		line       int
		wants      []string
	}{
		"missing source": {
			dockerfile: "FROM scratch\nCOPY absent dir/ /\n", line: 2, files: map[string]string{"dir/a": ""},
			wants: []string{"COPY absent: no such file or directory in the build context", "check the path"},
		},
		"missing source of ADD": {
			dockerfile: "FROM scratch\nADD absent /\n", line: 2,
			wants: []string{"ADD absent: no such file or directory"},
		},
		"other letter case": {
			dockerfile: "FROM scratch\nCOPY src/app.js /\n", line: 2, files: map[string]string{"src/App.js": ""},
			wants: []string{"COPY src/app.js: ", "there is src/App.js"},
		},
		"above the context": {
			dockerfile: "FROM scratch\nCOPY ../lib /\n", line: 2,
			wants: []string{"COPY ../lib: a source above the build context cannot be copied", "set context"},
		},
		"ignored directory": {
			dockerfile: "FROM scratch\nCOPY dist/ /\n", line: 2,
			files: map[string]string{".dockerignore": "# made\ndist\n", "dist/app.js": ""},
			wants: []string{"COPY dist/: the pattern \"dist\" in .dockerignore keeps it out", "add !dist"},
		},
		"ignored file below a directory": {
			dockerfile: "FROM scratch\nCOPY a/b/c.txt /\n", line: 2,
			files: map[string]string{".dockerignore": "**/*.txt\n!d.txt\n", "a/b/c.txt": ""},
			wants: []string{"COPY a/b/c.txt: the pattern \"**/*.txt\" in .dockerignore"},
		},
		"ignored by the Dockerfile's own file": {
			dockerfile: "FROM scratch\nCOPY a.txt /\n", line: 2,
			files: map[string]string{"Dockerfile.dockerignore": "*.txt\n", ".dockerignore": "other\n", "a.txt": ""},
			wants: []string{"\"*.txt\" in Dockerfile.dockerignore keeps it out"},
		},
		"missing in a stage": {
			dockerfile: "FROM scratch AS build\nCOPY a /a\nFROM scratch\nCOPY --from=build /bin/app /\n", line: 4,
			files: map[string]string{"a": ""},
			wants: []string{"COPY /bin/app: build has no file or directory /bin/app"},
		},
		"misspelled stage": {
			dockerfile: "FROM scratch AS build\nCOPY a /a\nFROM scratch\nCOPY --from=biuld /a /\n", line: 4,
			files: map[string]string{"a": ""},
			wants: []string{"COPY --from=biuld: no stage above has this name (the stages are build)"},
		},
		"unknown target": {
			dockerfile: "FROM scratch AS build\nCOPY a /a\nFROM scratch AS app\nCOPY a /\n", target: "ap",
			files: map[string]string{"a": ""},
			wants: []string{"no stage has the name ap (target): the stages are build, app"},
		},
		"no such command in RUN": {
			dockerfile: shellStage + "RUN no-such-command\n", line: 5,
			wants: []string{"exit code: 127", "the shell found no such command or file"},
		},
		"a file that may not be run": {
			dockerfile: shellStage + "COPY a /a\nRUN /a\n", line: 6, files: map[string]string{"a": "#!/bin/sh\n"},
			wants: []string{"exit code: 126", "chmod +x"},
		},
		"no shell": {
			dockerfile: "FROM scratch\nRUN true\n", line: 2,
			wants: []string{"the image has no program /bin/sh"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, c.files)
			if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(c.dockerfile), 0o600); err != nil {
				t.Fatal(err)
			}
			r := request(withShell(t, dir))
			r.Target = c.target
			_, err := client.Build(t.Context(), r)
			var fault *buildkit.BuildError
			if !errors.As(err, &fault) {
				t.Fatalf("Build: got error %T %v, want a BuildError", err, err)
			}
			if fault.Line != c.line {
				t.Errorf("line: got %d, want %d", fault.Line, c.line)
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Build: got error %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "checksum of ref") {
				t.Errorf("Build: got error %q, want no word of the builder's cache in it", err)
			}
		})
	}
}
