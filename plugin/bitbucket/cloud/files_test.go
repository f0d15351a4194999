package cloud_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

// tree is a source browser. It lists breadth first, ignores q, and gives up on listings with more
// than limit entries.
type tree struct {
	files []string
	limit int
	asked []string
}

func (s *tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	prefix := appPath + "/src/" + hash1 + "/"
	dir, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix)
	if !ok || (dir != "" && !strings.HasSuffix(dir, "/")) {
		http.Error(w, "no trailing slash", 404)
		return
	}
	dir, _ = url.PathUnescape(dir)
	depth, _ := strconv.Atoi(r.URL.Query().Get("max_depth"))
	s.asked = append(s.asked, fmt.Sprintf("%s@%d", dir, depth))
	seen := map[string]string{}
	for _, f := range s.files {
		rest, below := strings.CutPrefix(f, dir)
		if !below {
			continue
		}
		parts := strings.Split(rest, "/")
		for i := 1; i <= min(depth, len(parts)); i++ {
			kind := "commit_directory"
			if i == len(parts) {
				kind = "commit_file"
			}
			seen[dir+strings.Join(parts[:i], "/")] = kind
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if s.limit > 0 && len(seen) > s.limit {
		w.WriteHeader(555)
		_, _ = io.WriteString(w, `{"type":"error","error":{"message":"Source listing timed out."}}`)
		return
	}
	var entries []string
	for path, kind := range seen {
		entries = append(entries, fmt.Sprintf(`{"path":%q,"type":%q}`, path, kind))
	}
	_, _ = fmt.Fprintf(w, `{"values":[%s]}`, strings.Join(entries, ","))
}

func find(t *testing.T, s *tree) []string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	api, err := bitbucket.New(bitbucket.Options{BaseURL: server.URL,
		Token: func(context.Context) (secret.Secret, error) { return secret.New("t"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	found, err := cloud.New(api).Files(t.Context(), app, hash1, "Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func TestFilesInOneListing(t *testing.T) {
	s := &tree{files: []string{"Dockerfile", "README.md", "a b/c/dev.dockerfile", "dockerfiles/README"}}
	check(t, nil, []string{"Dockerfile", "a b/c/dev.dockerfile"}, find(t, s))
	check(t, nil, []string{"@20"}, s.asked)
}

func TestFilesWhenCloudGivesUp(t *testing.T) {
	var files, want []string
	for _, dir := range []string{"", "a/", "a/b/", "a/b/c/", "a/b/c/d/e/f/", "x y/z/"} {
		files = append(files, dir+"Dockerfile", dir+"main.go", dir+"other.go")
		want = append(want, dir+"Dockerfile")
	}
	slices.Sort(want)
	s := &tree{files: files, limit: 12}
	check(t, nil, want, find(t, s))
	for _, depth := range []string{"@20", "@10", "@5"} {
		if !slices.Contains(s.asked, depth) {
			t.Errorf("requests: got %v, want one with depth %s", s.asked, depth)
		}
	}
	if len(s.asked) < 5 {
		t.Errorf("requests: got %d, want at least 5", len(s.asked))
	}
}

func TestFilesOmitsFilesThatAreTooLarge(t *testing.T) {
	s := &tree{limit: 5, files: []string{"Dockerfile", "many/Dockerfile", "other/Dockerfile"}}
	for n := range 20 {
		s.files = append(s.files, fmt.Sprintf("many/%d", n))
	}
	check(t, nil, []string{"Dockerfile", "other/Dockerfile"}, find(t, s))
}

func TestFilesAreBounded(t *testing.T) {
	s := &tree{limit: 150}
	for n := range 100 {
		s.files = append(s.files, fmt.Sprintf("d%d/Dockerfile", n), fmt.Sprintf("d%d/x/Dockerfile", n))
	}
	if find(t, s); len(s.asked) > 60 {
		t.Errorf("listings: got %d, want at most 60", len(s.asked))
	}
}
