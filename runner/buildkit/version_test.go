package buildkit_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	apitypes "github.com/moby/buildkit/api/types"
	"google.golang.org/grpc"

	"slipway/config/identity"
	"slipway/runner/buildkit"
)

// versioned is a BuildKit that returns only its version.
type versioned struct {
	controlapi.UnimplementedControlServer
	version string
}

func (v versioned) Info(context.Context, *controlapi.InfoRequest) (*controlapi.InfoResponse, error) {
	return &controlapi.InfoResponse{BuildkitVersion: &apitypes.BuildkitVersion{Version: v.version}}, nil
}

func (v versioned) ListenBuildHistory(
	_ *controlapi.BuildHistoryRequest,
	s grpc.ServerStreamingServer[controlapi.BuildHistoryEvent],
) error {
	<-s.Context().Done()
	return nil
}

// O6: a remote BuildKit with a known container escape gets no build. The error names the fixed version.
func TestO6AnUnsafeBuildKitIsRefused(t *testing.T) {
	for version, safe := range map[string]bool{
		"v0.28.0": false, "v0.12.5": false, "v0.28.1-rc1": false, "v0.9.0-5-gabcdef": false, "v0.28.0+distribution": false,
		"v0.28.1": true, "v0.33.1": true, "v1.0.0": true, "v0.0.0+unknown": true, "": true, "built here": true,
	} {
		t.Run("version "+version, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b.sock")
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			controlapi.RegisterControlServer(server, versioned{version: version})
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			defer func() {
				server.Stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
			}()
			c, err := buildkit.Dial(t.Context(), "unix://"+path, identity.Identity{})
			if err == nil {
				defer func() { _ = c.Close() }()
			}
			switch {
			case safe && err != nil:
				t.Errorf("check of the version: got error %v, want nil", err)
			case !safe && (err == nil || !strings.Contains(err.Error(), version) || !strings.Contains(err.Error(), "v0.28.1 or newer")):
				t.Errorf("check of the version: got error %v, want the version and the fixed version", err)
			}
		})
	}
}
