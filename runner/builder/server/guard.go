package server

import (
	"context"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// guardSolve refuses what a request could ask for around the server's settings: the
// proxy network of BuildKit would give RUN steps a way out that Network did not grant.
// Entitlements are refused by BuildKit itself, as the server grants none.
func guardSolve(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if solve, ok := req.(*controlapi.SolveRequest); ok && solve.ProxyNetwork {
		return nil, status.Error(codes.FailedPrecondition, "the proxy network is not available on this builder")
	}
	return next(ctx, req)
}
