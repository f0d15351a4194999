package intake

import (
	"net/http"
	"time"

	"slipway/plugin/autobuild"
)

const (
	eventHeader = "X-Event-Key"
	pingEvent   = "diagnostics:ping"
	// maxHeader is the maximum length of a stored header value, in bytes. Real values are much
	// shorter.
	maxHeader = 512
)

// keptHeaders are stored with a delivery. Signatures, cookies and the headers of proxies are not.
var keptHeaders = []string{
	eventHeader, "X-Request-UUID", "X-Request-Id", "X-Hook-UUID", "X-Attempt-Number", "User-Agent", "Content-Type",
}

// deliveryOf returns the delivery of a request. Source of the headers:
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
func deliveryOf(h autobuild.Hook, header http.Header, body []byte, now time.Time) autobuild.Delivery {
	kept := http.Header{}
	for _, name := range keptHeaders {
		if v := header.Get(name); v != "" {
			kept.Set(name, v[:min(len(v), maxHeader)])
		}
	}
	requestID := kept.Get("X-Request-UUID")
	if requestID == "" {
		requestID = kept.Get("X-Request-Id")
	}
	return autobuild.Delivery{
		HookID: h.ID, Event: kept.Get(eventHeader), RequestID: requestID,
		Header: kept, Body: body, ReceivedAt: now, State: autobuild.DeliveryReceived,
	}
}
