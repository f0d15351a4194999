package bitbuckettest

import (
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// limitedPeriod is the period in which requests count.
const limitedPeriod = time.Hour

// defaultLimit is the limit in the headers of a server without Options.RequestLimit.
const defaultLimit = 1000

// anonymousLimit is the number of requests per period without a credential, by address.
const anonymousLimit = 60

// A meter has the times of the requests of the last period, oldest first. Requests count by credential:
// those of an OAuth consumer together, whatever their user.
type meter map[string][]time.Time

// admit counts a request, unless the meter has limit requests already. It returns the remaining number of
// requests, or false.
func (m meter) admit(key string, limit int, now time.Time) (left int, ok bool) {
	times := m[key]
	for len(times) > 0 && !now.Before(times[0].Add(limitedPeriod)) {
		times = times[1:]
	}
	if len(times) >= limit {
		m[key] = times
		return 0, false
	}
	m[key] = append(times, now)
	return limit - len(m[key]), true
}

// limit counts a request to the API, and returns the remaining number of requests. With
// Options.RequestLimit it returns false for a request too many.
func (s *Server) limit(r *http.Request, who principal) (left int, ok bool) {
	if s.options.RequestLimit == 0 {
		return 0, true
	}
	key, limit := who.meter, s.options.RequestLimit
	if who.account == nil {
		address, _ := netip.ParseAddrPort(r.RemoteAddr) // always an address of the listener
		key, limit = "address "+address.Addr().String(), min(anonymousLimit, limit)
	}
	if strings.Contains(r.URL.Path, "/hooks") {
		key += " webhooks" // webhooks have a limit of their own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.admit(key, limit, s.now())
}

// refuse writes the response to a request too many. It is text without Retry-After:
// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.Write([]byte("Rate limit for this resource has been exceeded")) // an error means that the client has gone
}
