package server

import (
	"context"

	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/solver/pb"
)

// hostNetwork says of RUN steps that name no network that they are in the host's: only then
// they get a nameserver on loopback, as Docker's own in a container is.
type hostNetwork struct{ executor.Executor }

var _ executor.Executor = hostNetwork{}

func (h hostNetwork) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	return h.Executor.Run(ctx, id, root, mounts, named(process), started)
}

func (h hostNetwork) Exec(ctx context.Context, id string, process executor.ProcessInfo) error {
	return h.Executor.Exec(ctx, id, named(process))
}

func named(process executor.ProcessInfo) executor.ProcessInfo {
	if process.Meta.NetMode == pb.NetMode_UNSET {
		process.Meta.NetMode = pb.NetMode_HOST
	}
	return process
}
