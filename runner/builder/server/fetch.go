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

	"slipway/runner/builder"
)

// confineADD makes `ADD https://…` see no more of this machine than RUN does: the server
// itself fetches those URLs, so without this a Dockerfile could read the services on
// 127.0.0.1 and the cloud's metadata address through it.
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

// refuseLocal is asked with the address that the name resolved to, so that a name that
// points at this machine helps nobody. Its refusal is the Dockerfile's doing.
func refuseLocal(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	ip := to.Addr().Unmap()
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() {
		return grpcerrors.WrapCode(fmt.Errorf("%s%s: it is an address of the build machine itself", builder.RefusedADD, ip), codes.FailedPrecondition)
	}
	return nil
}
