package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

// A Client resolves a tag to its commit. A tag that does not exist is bitbucket.ErrNotFound.
func ExampleClient_Tag() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/2.0/repositories/acme/app/refs/tags/v1.2" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"name": "v1.2", "target": {"hash": "1f6a9c2e07bd4c1f6a9c2e07bd4c1f6a9c2e07bd"}}`)
	}))
	defer server.Close()

	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: server.URL, // https://api.bitbucket.org
		Token:   func(context.Context) (secret.Secret, error) { return secret.New("token"), nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := cloud.New(api)
	id := cloud.RepositoryID{Workspace: "acme", Repository: "app"}
	ref, err := client.Tag(context.Background(), id, "v1.2")
	fmt.Printf("%s %.12s %v\n", ref.Name, ref.Commit.Hash, err)
	_, err = client.Tag(context.Background(), id, "v9")
	fmt.Println(errors.Is(err, bitbucket.ErrNotFound))
	// Output:
	// v1.2 1f6a9c2e07bd <nil>
	// true
}
