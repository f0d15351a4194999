package buildkit_test

import (
	"bytes"
	"strings"
	"testing"
)

// S8: whoever puts a secret into a build argument or the environment of an image, where everybody
// can read it who has the image, is told so in the build's log.
func TestS8AnArgumentThatLooksLikeASecretIsWarnedOf(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	for name, warned := range map[string]bool{"NPM_TOKEN": true, "DB_PASSWORD": true, "NPM_MODE": false} {
		var log bytes.Buffer
		r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nARG " + name + "\nCOPY Dockerfile /\n"}))
		r.BuildArgs, r.Progress = map[string]string{name: "x"}, &log
		if _, err := client.Build(t.Context(), r); err != nil {
			t.Fatalf("%v\n%s", err, &log)
		}
		if got := strings.Contains(
			log.String(),
			`Do not use ARG or ENV instructions for sensitive data (ARG "`+name+`") (line 2)`,
		); got != warned {
			t.Errorf("%s: a warning %v, want %v:\n%s", name, got, warned, &log)
		}
	}
}
