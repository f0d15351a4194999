package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/webhook"
)

// bodySize is the size of a delivery in bytes: that of a push of a few commits.
const bodySize = 4500

// A sample is the result of one measurement of one server.
type sample struct {
	rate     float64 // acknowledgements per second
	p50, p99 time.Duration
	cpu      time.Duration // of the server, for one acknowledgement
}

// A result holds the samples of one server with one number of senders, a round each.
type result struct {
	server  string
	senders int
	samples []sample
}

// measure runs all servers in turns. It returns what it has if it fails.
func measure(ctx context.Context, o options) (results []*result, err error) {
	key := secret.New(rand.Text())
	dir, err := os.MkdirTemp(o.work, "slipway-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	servers, err := startAll(ctx, o, dir, key)
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	body := newBody()
	for _, senders := range o.senders {
		first := len(results)
		for _, s := range servers {
			results = append(results, &result{server: s.name, senders: senders})
		}
		for round := range o.rounds + 1 { // the first one is for warming up
			for i, s := range servers {
				got, err := s.load(ctx, body, key, senders, o.each)
				if err != nil {
					return results[:first], fmt.Errorf("%s: %w", s.name, err)
				}
				if round > 0 {
					results[first+i].samples = append(results[first+i].samples, got)
				}
			}
		}
	}
	return results, nil
}

func startAll(ctx context.Context, o options, dir string, key secret.Secret) (servers []*server, err error) {
	for i := range len(o.programs) + 1 {
		own, err := os.MkdirTemp(dir, "")
		if err != nil {
			return servers, err
		}
		database, err := newDatabase(ctx, o.postgres, i)
		if err != nil {
			return servers, err
		}
		var s *server
		if i == 0 {
			s, err = startFloor(ctx, own, database, key, o.hooks)
		} else {
			s, err = startGateway(ctx, o.programs[i-1], own, database, key, o.hooks)
		}
		if s != nil {
			servers = append(servers, s)
		}
		if err != nil {
			return servers, err
		}
	}
	return servers, nil
}

// newBody returns a push to a repository that no webhook has, which compresses as a real one does.
func newBody() []byte {
	body := []byte(`{"repository":{"uuid":"{other}","full_name":"bench/other"},"push":{"changes":[]},"commits":["`)
	for len(body) < bodySize-3 {
		body = fmt.Appendf(body, "%s ", rand.Text()[:8]+" fixes the build of the image")
	}
	return append(body, `"]}`...)
}

// load sends deliveries with a number of senders for a time.
func (s *server) load(
	ctx context.Context, body []byte, key secret.Secret, senders int, each time.Duration,
) (sample, error) {
	signature := webhook.Sign(body, key)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	before, err := s.cpu()
	if err != nil {
		return sample{}, err
	}
	begin := time.Now()
	took, errs := make([][]time.Duration, senders), make([]error, senders)
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for n := i; time.Since(begin) < each && errs[i] == nil; n++ {
				sent := time.Now()
				errs[i] = send(ctx, client, s.urls[n%len(s.urls)], body, signature)
				took[i] = append(took[i], time.Since(sent))
			}
		})
	}
	all.Wait()
	elapsed := time.Since(begin)
	after, err := s.cpu()
	if err := errors.Join(err, errors.Join(errs...)); err != nil {
		return sample{}, err
	}
	times := slices.Sorted(slices.Values(slices.Concat(took...)))
	n := len(times)
	if n == 0 {
		return sample{}, errors.New("no delivery in this time: set a longer -each")
	}
	return sample{
		rate: float64(n) / elapsed.Seconds(),
		p50:  times[n/2],
		p99:  times[n*99/100],
		cpu:  (after - before) / time.Duration(n),
	}, nil
}

func send(ctx context.Context, client *http.Client, url string, body []byte, signature string) error {
	//nolint:gosec // the address of a server of this program
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Event-Key", "repo:push")
	r.Header.Set("X-Request-UUID", rand.Text())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(webhook.SignatureHeader, signature)
	response, err := client.Do(r) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("got status %d, want 202: %s", response.StatusCode, text)
	}
	return err
}
