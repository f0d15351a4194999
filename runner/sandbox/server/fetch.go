package server

import (
	"fmt"

	httpsource "github.com/moby/buildkit/source/http"
	"github.com/moby/buildkit/worker/base"

	"slipway/config/netpolicy"
	"slipway/runner/buildkit"
)

// confineADD makes `ADD https://…` refuse addresses of this machine. The server itself fetches these
// URLs. Without the check, a Dockerfile could read services on 127.0.0.1 and the cloud's metadata
// address, which RUN cannot reach.
func (c Config) confineADD(w *base.Worker) error {
	policy := netpolicy.Policy{Own: c.Environment.Network.Machine}
	transport := newDialer(policy, buildkit.RefusedADD).transport(nil)
	source, err := httpsource.NewSource(httpsource.Opt{CacheAccessor: w.CacheMgr, Transport: transport})
	if err != nil {
		return fmt.Errorf("confine ADD: %w", err)
	}
	w.HTTPSource = source
	w.SourceManager.Register(source)
	return nil
}
