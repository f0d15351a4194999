package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	httpsource "github.com/moby/buildkit/source/http"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/worker/base"
	"google.golang.org/grpc/codes"

	"slipway/runner/buildkit"
)

// confineADD makes `ADD https://…` refuse addresses of this machine. The server itself fetches these
// URLs. Without the check, a Dockerfile could read services on 127.0.0.1 and the cloud's metadata
// address, which RUN cannot reach.
func confineADD(w *base.Worker) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyFromEnvironment
	transport.DialContext = (&net.Dialer{Timeout: 30 * time.Second, Control: refuseLocal}).DialContext
	source, err := httpsource.NewSource(httpsource.Opt{CacheAccessor: w.CacheMgr, Transport: transport})
	if err != nil {
		return fmt.Errorf("confine ADD: %w", err)
	}
	w.HTTPSource = source
	w.SourceManager.Register(source)
	return nil
}

// refuseLocal refuses loopback, unspecified and link-local addresses. net.Dialer calls it with the
// resolved IP address, so a host name cannot bypass it. The error has the code FailedPrecondition,
// because the Dockerfile is the cause.
func refuseLocal(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	ip := to.Addr().Unmap()
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() {
		err := fmt.Errorf("%s%s: it is an address of the build machine itself", buildkit.RefusedADD, ip)
		return grpcerrors.WrapCode(err, codes.FailedPrecondition)
	}
	return nil
}
