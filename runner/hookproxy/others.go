package hookproxy

import (
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/sirupsen/logrus"

	"slipway/config/netpolicy"
	"slipway/runner/attemptserver"
)

// newOthers returns a handler that passes the other requests of hooks on to the provider unchanged.
// Examples are downloads and public repositories. It adds no credential. policy is that of the sandbox's
// network: the relay reaches no address that hooks do not reach themselves.
func newOthers(provider *url.URL, policy netpolicy.Policy, log logrus.FieldLogger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(provider)
			r.Out.Host = provider.Host
		},
		Transport: &http.Transport{
			DialContext:        policy.DialContext,
			DisableCompression: true,
			MaxConnsPerHost:    maxFetches,
		},
		FlushInterval: -1, // send each part at once, as for fetches
		ErrorLog:      attemptserver.NewErrorLog(log),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, netpolicy.ErrRefused) {
				http.Error(
					w,
					"a build hook may only fetch its own repository from "+provider.Host,
					http.StatusForbidden,
				)
				return
			}
			log.WithError(err).Warnf("hook proxy: %s of %s", r.Method, provider.Host)
			http.Error(w, provider.Host+" does not answer: "+err.Error(), http.StatusBadGateway)
		},
	}
}
