package bitbuckettest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestSources(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.MaxSourceDepth = 3 })
	commit, err := e.app.Commit(t.Context(), "main", map[string]string{
		"Dockerfile":             "FROM scratch\n",
		"run.sh":                 "#!/bin/sh\n",
		"svc/api/Dockerfile":     "FROM a\n",
		"svc/web/dockerfile.dev": "FROM b\n",
		"svc/a b#c/Dockerfile":   "FROM c\n",
		"docs/x/y/z/Dockerfile":  "FROM deep\n",
		"--help":                 "a file\n",
	}, "First")
	must.Succeed(t, err)
	base := "/2.0/repositories/acme/app/src/" + commit + "/"
	dockerfiles := url.QueryEscape(`type="commit_file" AND path~"ockerfile"`)
	for _, row := range []struct {
		path string
		want []string
	}{
		{"", []string{"docs", "svc", "--help", "Dockerfile", "run.sh"}},
		{"?max_depth=3&pagelen=2&fields=values.path,values.type,next&q=" + dockerfiles, []string{
			"Dockerfile", "svc/a b#c/Dockerfile", "svc/api/Dockerfile", "svc/web/dockerfile.dev",
		}},
		{"svc/", []string{"svc/a b#c", "svc/api", "svc/web"}},
		{"docs?max_depth=2", []string{"docs/x", "docs/x/y"}},
	} {
		if diff := cmp.Diff(row.want, e.names(t, base+row.path, "path")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.path, diff)
		}
	}
	if status, reply := e.call(t, "GET", base+"?max_depth=4", nil); status != 555 {
		t.Errorf("too deep: got %d %v, want 555", status, reply)
	}
	for path, want := range map[string]string{
		"Dockerfile": "map[attributes:[] path:Dockerfile size:13 type:commit_file]",
		"run.sh":     "map[attributes:[executable] path:run.sh size:10 type:commit_file]",
		"svc":        "map[path:svc type:commit_directory]",
		"":           "map[path: type:commit_directory]",
	} {
		_, reply := e.call(t, "GET", base+path+"?format=meta&fields=type,path,size,attributes", nil)
		if got := fmt.Sprint(reply); got != want {
			t.Errorf("metadata of %q: got %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"nothing", "svc/api/nothing"} {
		status, reply := e.call(t, "GET", base+path, nil)
		message := "No such file or directory: " + path
		if status != 404 || dig(reply, "error", "message") != message {
			t.Errorf("%s: got %d %v, want 404 %s", path, status, reply, message)
		}
	}
	raw := func(path, known string) (int, string, string) {
		request, err := http.NewRequestWithContext(t.Context(), "GET", e.URL()+base+path, nil)
		must.Succeed(t, err)
		request.Header.Set("Authorization", "Bearer "+e.token)
		request.Header.Set("If-None-Match", known)
		response, err := http.DefaultClient.Do(request)
		must.Succeed(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		must.Succeed(t, err)
		return response.StatusCode, string(text), response.Header.Get("ETag")
	}
	status, text, tag := raw("svc/a%20b%23c/Dockerfile", "")
	if status != 200 || text != "FROM c\n" {
		t.Errorf("raw: got %d %q, want 200 and the file", status, text)
	}
	if tag == "" {
		t.Error("raw: got no ETag, want one")
	}
	if status, text, _ = raw("svc/a%20b%23c/Dockerfile", tag); status != 304 || text != "" {
		t.Errorf("raw with the ETag: got %d %q, want 304", status, text)
	}
	if status, text, _ = raw("--help", ""); status != 200 || text != "a file\n" {
		t.Errorf("file with the name of an option: got %d %q, want 200 and the file", status, text)
	}
	first := e.names(t, "/2.0/repositories/acme/app/src?pagelen=1", "path")[:1]
	if diff := cmp.Diff([]string{"docs"}, first); diff != "" {
		t.Errorf("src without a commit (-want +got):\n%s", diff)
	}
}
