package sourcetest_test

import (
	"net/http"
	"testing"

	"slipway/runner/source/sourcetest"
)

func TestGitGetsThePasswordOnRequest(t *testing.T) {
	r := sourcetest.New(t)
	commit := r.Commit(t, map[string]string{"a": "b"})
	source := r.Source("refs/heads/main", commit)
	for password, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, sourcetest.Password: http.StatusOK} {
		req, err := http.NewRequestWithContext(
			t.Context(),
			http.MethodGet,
			source.URL+"/info/refs?service=git-upload-pack",
			nil,
		)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(sourcetest.Credential().Username, password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("password %q: got status %d, want %d", password, resp.StatusCode, want)
		}
	}
}
