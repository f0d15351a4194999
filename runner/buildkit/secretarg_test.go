package buildkit_test

import (
	"bytes"
	"strings"
	"testing"
)

// S8: every user of an image can read its build arguments and its environment. The build's log warns
// if one of them looks like a secret.
func TestS8TheLogWarnsOfAnArgumentThatLooksLikeASecret(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	for name, warned := range map[string]bool{"NPM_TOKEN": true, "DB_PASSWORD": true, "NPM_MODE": false} {
		var log bytes.Buffer
		r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nARG " + name + "\nCOPY Dockerfile /\n"}))
		r.BuildArgs, r.Progress = map[string]string{name: "x"}, &log
		if _, err := client.Build(t.Context(), r); err != nil {
			t.Fatalf("Build: %v\n%s", err, &log)
		}
		want := `Do not use ARG or ENV instructions for sensitive data (ARG "` + name + `") (line 2)`
		if got := strings.Contains(log.String(), want); got != warned {
			t.Errorf("%s: warning: got %v, want %v:\n%s", name, got, warned, &log)
		}
	}
}
