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

// The limits of webhook deliveries:
// https://support.atlassian.com/bitbucket-cloud/docs/troubleshoot-webhooks/
const (
	maxPayload  = 256 << 10 // a larger payload is not sent, without any notice
	maxAttempts = 3         // repeated only after a status of 500 to 599
	maxResponse = 64 << 10  // recorded bytes of a response
)

// A Delivery is the record of one event sent to one webhook.
type Delivery struct {
	HookUUID    string
	RequestUUID string // the same in every attempt
	Event       string
	URL         string
	Body        []byte
	Header      http.Header // of the last attempt
	Oversized   bool        // larger than 256 KB, so not sent
	Attempts    []DeliveryAttempt
}

// A DeliveryAttempt is one request of a Delivery.
type DeliveryAttempt struct {
	Number   int
	Status   int    // 0 without a response
	Error    string // TIMEOUT or NETWORK ERROR if there was no response
	Response string
	At       time.Time
	Took     time.Duration
}

// Deliveries returns the deliveries to a webhook, oldest first. With an empty UUID it returns the
// deliveries to all webhooks. Waiting deliveries are included; they have no attempts.
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

// deliver queues an event for every active webhook of the repository that subscribed to it.
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

// Redeliver queues a recorded delivery again, as the button "Resend request" does. It has the same body
// and the same request UUID.
func (s *Server) Redeliver(requestUUID string) error {
	s.courier.mu.Lock()
	i := slices.IndexFunc(s.courier.records, func(d *Delivery) bool { return d.RequestUUID == requestUUID })
	if i < 0 {
		s.courier.mu.Unlock()
		return fmt.Errorf("redeliver %s: unknown delivery", requestUUID)
	}
	first := s.courier.records[i]
	again := &Delivery{
		HookUUID:    first.HookUUID,
		RequestUUID: first.RequestUUID,
		Event:       first.Event,
		URL:         first.URL,
		Body:        first.Body,
	}
	s.courier.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.state.repositories {
		for _, h := range r.hooks {
			if h.uuid == again.HookUUID {
				s.queueDelivery(again, h.secret)
				return nil
			}
		}
	}
	return fmt.Errorf("redeliver %s: its webhook was removed", requestUUID)
}

// send sends a delivery, with up to maxAttempts attempts.
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

	response, err := s.options.Transport.RoundTrip(request) // RoundTrip does not follow redirects
	if err == nil {
		defer response.Body.Close()
		var body []byte
		body, err = io.ReadAll(io.LimitReader(response.Body, maxResponse))
		attempt.Status, attempt.Response = response.StatusCode, string(body)
	}
	if err != nil {
		attempt.Status, attempt.Error = 0, "NETWORK ERROR"
		if errors.Is(err, context.DeadlineExceeded) {
			attempt.Error = "TIMEOUT"
		}
		s.options.Log.WithError(err).WithField("hook", d.HookUUID).Warn("bitbuckettest: webhook not delivered")
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
		_, _ = mac.Write(d.Body) // a hash never returns an error
		header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return header
}

// pause waits for d. It returns false if ctx ends first.
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
