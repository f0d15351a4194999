package server

import (
	"context"

	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/solver/pb"
)

// hostNetwork sets the network of RUN steps to the host's if they name no network. Only then does
// BuildKit keep a name server on a loopback address, such as Docker's name server in a container.
type hostNetwork struct{ executor.Executor }

var _ executor.Executor = hostNetwork{}

// Run implements executor.Executor.
func (h hostNetwork) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount,
	process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	return h.Executor.Run(ctx, id, root, mounts, withNetMode(process), started)
}

// Exec implements executor.Executor.
func (h hostNetwork) Exec(ctx context.Context, id string, process executor.ProcessInfo) error {
	return h.Executor.Exec(ctx, id, withNetMode(process))
}

func withNetMode(process executor.ProcessInfo) executor.ProcessInfo {
	if process.Meta.NetMode == pb.NetMode_UNSET {
		process.Meta.NetMode = pb.NetMode_HOST
	}
	return process
}
