package registryproxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"slipway/config/netpolicy"
	"slipway/runner/attemptserver"
)

// A problem is an error whose text the client reads.
type problem struct {
	status int
	code   string // error code of the distribution specification
	text   string
}

func (p problem) Error() string { return p.text }

// unavailable returns the response to a request that the registry failed to serve.
func unavailable(text string) problem {
	return problem{http.StatusBadGateway, "UNAVAILABLE", text}
}

var errEnded = problem{http.StatusForbidden, "DENIED", attemptserver.ErrEnded.Error()}

func (p *Proxy) refuseEnded(w http.ResponseWriter, _ *http.Request) { writeProblem(w, errEnded) }

// fail writes the response to a request that failed. No other function writes error responses.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, to route, err error) {
	var response problem
	switch {
	case errors.As(err, &response):
	case p.attempt.Err() != nil:
		response = errEnded
	case errors.Is(err, netpolicy.ErrRefused):
		response = unavailable("the registry names an address that this installation does not allow")
	default:
		response = unavailable("the registry does not answer: try again")
	}
	if response.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="build"`)
	}
	if response.status >= http.StatusInternalServerError {
		// The path is a checked one; the query may hold anything and is left out.
		p.log.WithError(err).Warnf("registry proxy: %s %s: %s", r.Method, to.path(), response.text)
	}
	writeProblem(w, response)
}

func writeProblem(w http.ResponseWriter, response problem) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.WriteHeader(response.status)
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body := map[string][]item{"errors": {{response.code, response.text}}}
	_ = json.NewEncoder(w).Encode(body) // a client that went away needs no response
}

// methodNotAllowed returns the response to a method that a resource of the proxy does not support.
func methodNotAllowed(w http.ResponseWriter, allowed ...string) problem {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return problem{http.StatusMethodNotAllowed, "UNSUPPORTED",
		"this build may not use that method; allowed: " + strings.Join(allowed, ", ")}
}
