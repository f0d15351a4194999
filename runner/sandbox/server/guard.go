package server

import (
	"context"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slipway/runner/buildkit"
)

// guardSolve rejects requests that bypass the server's settings. It rejects BuildKit's proxy network,
// which gives RUN steps a network that the setting Network does not allow. BuildKit itself rejects
// entitlements, because the server grants none.
func guardSolve(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if solve, ok := req.(*controlapi.SolveRequest); ok && solve.ProxyNetwork {
		return nil, status.Error(codes.FailedPrecondition, "the proxy network is not available on this builder")
	}
	return next(ctx, req)
}

// nameServer puts the name of this program into the version that clients read. So they know that each context goes
// into an empty directory, and need not hash it.
func nameServer(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	response, err := next(ctx, req)
	if info, ok := response.(*controlapi.InfoResponse); ok && err == nil {
		info.BuildkitVersion.Package = buildkit.ServerPackage
	}
	return response, err
}
