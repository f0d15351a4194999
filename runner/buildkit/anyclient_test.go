package buildkit_test

import (
	"context"
	"testing"

	buildkit "github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/tonistiigi/fsutil"
)

// Any BuildKit client may use a server. buildctl with its defaults sends no options at all.
func TestABuildWithoutOptionsLeavesTheServerUp(t *testing.T) {
	needBuildKit(t)
	server := start(t, t.TempDir())
	bk, err := buildkit.New(t.Context(), server.address)
	if err != nil {
		t.Fatal(err)
	}
	defer bk.Close()
	for _, dockerfile := range []string{"FROM scratch\nCOPY Dockerfile /\n", "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY Dockerfile /\n"} {
		files, err := fsutil.NewFS(write(t, map[string]string{"Dockerfile": dockerfile}))
		if err != nil {
			t.Fatal(err)
		}
		o := buildkit.SolveOpt{LocalMounts: map[string]fsutil.FS{"context": files, "dockerfile": files}}
		_, err = bk.Build(t.Context(), o, "", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
			return c.Solve(ctx, gateway.SolveRequest{Frontend: "dockerfile.v0"})
		}, nil)
		if err != nil {
			t.Errorf("%q by the gateway: %v\n%s", dockerfile, err, server.log)
		}
		o.Frontend = "dockerfile.v0"
		if _, err := bk.Solve(t.Context(), nil, o, nil); err != nil {
			t.Errorf("%q: %v\n%s", dockerfile, err, server.log)
		}
	}
}
