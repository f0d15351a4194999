package bitbuckettest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipway/config/secret"
)

// How Bitbucket delivers:
// https://support.atlassian.com/bitbucket-cloud/docs/troubleshoot-webhooks/
const (
	maxPayload  = 256 << 10 // a greater one is never sent, and nobody is told
	maxAttempts = 3         // the later two only after an answer of 500 to 599
	maxResponse = 64 << 10  // of the response's body kept
)

// A Delivery is the record of one event sent to one webhook.
type Delivery struct {
	HookUUID    string
	RequestUUID string // the same in every attempt
	Event       string
	URL         string
	Body        []byte
	Header      http.Header // as sent in the last attempt
	Oversized   bool        // over 256 KB, so it was not sent
	Attempts    []DeliveryAttempt
}

// A DeliveryAttempt is one request of a Delivery.
type DeliveryAttempt struct {
	Number   int
	Status   int    // 0 when there was no answer
	Error    string // TIMEOUT or NETWORK ERROR: why there was none
	Response string
	At       time.Time
	Took     time.Duration
}

// Deliveries returns what was sent to a webhook, oldest first; with an empty UUID, to any.
// Deliveries that wait are in it, without attempts.
func (s *Server) Deliveries(hookUUID string) []Delivery {
	s.courier.mu.Lock()
	defer s.courier.mu.Unlock()
	var deliveries []Delivery
	for _, d := range s.courier.records {
		if hookUUID == "" || d.HookUUID == hookUUID {
			copied := *d
			copied.Header, copied.Attempts = d.Header.Clone(), slices.Clone(d.Attempts)
			deliveries = append(deliveries, copied)
		}
	}
	return deliveries
}

// deliver queues an event for every active webhook of the repository that asked for it.
func (s *Server) deliver(r *Repository, event string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range r.hooks {
		if h.active && slices.Contains(h.events, event) {
			s.queueDelivery(&Delivery{
				HookUUID: h.uuid, RequestUUID: strings.Trim(newUUID(), "{}"), Event: event, URL: h.url, Body: body,
			}, h.secret)
		}
	}
}

func (s *Server) queueDelivery(d *Delivery, key secret.Secret) {
	d.Oversized = len(d.Body) > maxPayload
	s.courier.mu.Lock()
	s.courier.records = append(s.courier.records, d)
	s.courier.mu.Unlock()
	if d.Oversized {
		return
	}
	s.courier.enqueue(d.HookUUID, func(ctx context.Context) { s.send(ctx, d, key) })
}

// Redeliver sends a recorded delivery once more, as the "Resend request" button does: the
// same body under the same request UUID. It returns when the delivery is queued.
func (s *Server) Redeliver(requestUUID string) error {
	s.courier.mu.Lock()
	i := slices.IndexFunc(s.courier.records, func(d *Delivery) bool { return d.RequestUUID == requestUUID })
	if i < 0 {
		s.courier.mu.Unlock()
		return fmt.Errorf("redeliver %s: there is no such delivery", requestUUID)
	}
	was := s.courier.records[i]
	again := &Delivery{
		HookUUID:    was.HookUUID,
		RequestUUID: was.RequestUUID,
		Event:       was.Event,
		URL:         was.URL,
		Body:        was.Body,
	}
	s.courier.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.world.repositories {
		for _, h := range r.hooks {
			if h.uuid == again.HookUUID {
				s.queueDelivery(again, h.secret)
				return nil
			}
		}
	}
	return fmt.Errorf("redeliver %s: its webhook is gone", requestUUID)
}

// send makes the attempts of a delivery.
func (s *Server) send(ctx context.Context, d *Delivery, key secret.Secret) {
	for number := 1; number <= maxAttempts; number++ {
		if number > 1 && !pause(ctx, s.options.RetryDelay) {
			return
		}
		attempt := s.attempt(ctx, d, key, number)
		s.courier.mu.Lock()
		d.Attempts = append(d.Attempts, attempt)
		s.courier.mu.Unlock()
		if attempt.Status < 500 || attempt.Status > 599 {
			return
		}
	}
}

func (s *Server) attempt(ctx context.Context, d *Delivery, key secret.Secret, number int) DeliveryAttempt {
	ctx, cancel := context.WithTimeout(ctx, s.options.HookTimeout)
	defer cancel()
	attempt := DeliveryAttempt{Number: number, At: s.now()}
	defer func(start time.Time) { attempt.Took = time.Since(start) }(time.Now())

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		attempt.Error = "NETWORK ERROR"
		return attempt
	}
	request.Header = deliveryHeader(d, key, number)
	s.courier.mu.Lock()
	d.Header = request.Header.Clone()
	s.courier.mu.Unlock()

	response, err := s.options.Transport.RoundTrip(request) // follows no redirect
	if err == nil {
		defer response.Body.Close()
		var said []byte
		said, err = io.ReadAll(io.LimitReader(response.Body, maxResponse))
		attempt.Status, attempt.Response = response.StatusCode, string(said)
	}
	if err != nil {
		attempt.Status, attempt.Error = 0, "NETWORK ERROR"
		if errors.Is(err, context.DeadlineExceeded) {
			attempt.Error = "TIMEOUT"
		}
		s.options.Log.WithError(err).WithField("hook", d.HookUUID).Warn("bitbuckettest: a webhook was not delivered")
	}
	return attempt
}

func deliveryHeader(d *Delivery, key secret.Secret, number int) http.Header {
	header := http.Header{
		"Content-Type":     {"application/json"},
		"User-Agent":       {"Bitbucket-Webhooks/2.0"},
		"X-Event-Key":      {d.Event},
		"X-Hook-Uuid":      {strings.Trim(d.HookUUID, "{}")},
		"X-Request-Uuid":   {d.RequestUUID},
		"X-Attempt-Number": {strconv.Itoa(number)},
	}
	if !key.IsZero() {
		mac := hmac.New(sha256.New, []byte(key.Reveal()))
		_, _ = mac.Write(d.Body) // a hash takes everything
		header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return header
}

// pause waits, and tells whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
