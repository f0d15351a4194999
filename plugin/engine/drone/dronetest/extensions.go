package dronetest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"
)

// create creates a build like Drone: it requests the configuration before the build has a number,
// and sends the webhooks before it responds to the API call.
func (s *Server) create(r *Repository, template drone.Build) (*drone.Build, error) {
	text, err := s.configOf(r, template)
	if err != nil {
		return nil, err
	}
	documents, err := parse(text)
	if err == nil && !documents.runsOn(template.Event) {
		return nil, nil // the response is null
	}
	s.mu.Lock()
	b := &build{Build: template, repo: r, ended: make(chan struct{})}
	b.Number, b.ID, b.Created = int64(len(r.builds)+1), int64(len(r.builds)+1), time.Now().Unix()
	b.Version = 1
	r.builds = append(r.builds, b)
	if err != nil {
		b.Status, b.Error = drone.StatusError, err.Error()
	} else if documents, err = parse(substitute(text, b.values())); err != nil { // a value made it invalid
		b.Status, b.Error = drone.StatusError, err.Error()
	} else {
		b.Status = drone.StatusPending
		b.plan(documents)
		s.queue = append(s.queue, b)
	}
	if b.Status == drone.StatusError {
		b.Finished = b.Created
		close(b.ended)
	}
	created := b.shown()
	s.mu.Unlock()
	s.sendWebhook(r, "created", created)
	s.dispatch()
	return created, nil
}

// values returns the substitutions for ${...} in a configuration.
func (b *build) values() map[string]string {
	all := b.variables()
	maps.Copy(all, b.Params)
	return all
}

// configOf returns the configuration of a build. It caches responses by a key without parameters.
func (s *Server) configOf(r *Repository, b drone.Build) (string, error) {
	s.mu.Lock()
	key := fmt.Sprint(r.ID, time.Now().Unix(), b.Event, b.Action, b.Ref, b.After)
	text, known := s.remembered[key]
	extension, own := s.extensions.Config, r.ownConfig
	s.mu.Unlock()
	if known {
		return text, nil
	}
	if extension.URL != "" {
		var reply drone.Config
		repo := r.Repo
		repo.Secret = "" // Drone sends it only to runners
		body := map[string]any{
			"build": b,
			"repo":  repo,
			"token": map[string]string{"access": "forge-access", "refresh": "forge-refresh"},
		}
		status, err := s.send(s.ctx, extension, "application/vnd.drone.config.v1+json", body, &reply)
		if err != nil {
			return "", err
		}
		if status != http.StatusNoContent {
			s.set(func() { s.remembered[key] = reply.Data })
			return reply.Data, nil
		}
	}
	if own == "" {
		select {
		case <-time.After(s.o.ConfigWait):
		case <-s.ctx.Done():
		}
		return "", errors.New("not found")
	}
	return own, nil
}

// sendWebhook sends a webhook and waits for the response, which it ignores.
func (s *Server) sendWebhook(r *Repository, action string, b *drone.Build) {
	s.mu.Lock()
	extension, twice := s.extensions.Webhook, s.twice
	repo := r.Repo
	s.mu.Unlock()
	if extension.URL == "" {
		return
	}
	repo.Secret = ""
	body := map[string]any{
		"event":  "build",
		"action": action,
		"repo":   repo,
		"build":  b,
		"system": drone.System{Proto: "http", Host: "drone", Version: version},
	}
	_, _ = s.send(s.ctx, extension, "", body, nil)
	if twice {
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			_, _ = s.send(s.ctx, extension, "", body, nil)
		}()
	}
}

// secretOf requests a secret as the runner does. After any error the value is empty.
func (s *Server) secretOf(ctx context.Context, b *build, path, name string) string {
	s.mu.Lock()
	extension, shown, repo := s.extensions.Secret, b.shown(), b.repo.Repo
	s.mu.Unlock()
	if extension.URL == "" {
		return ""
	}
	var reply drone.Secret
	body := map[string]any{"path": path, "name": name, "repo": repo, "build": shown}
	if _, err := s.send(ctx, extension, "application/vnd.drone.secret.v1+json", body, &reply); err != nil {
		return ""
	}
	return reply.Data
}

func (s *Server) send(ctx context.Context, e Extension, accept string, in, out any) (int, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
		req.Header.Set("Accept-Encoding", "identity")
	} else {
		req.Header.Set("X-Drone-Event", "build")
	}
	Sign(req, body, e.Secret.Reveal(), time.Now())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return resp.StatusCode, err
	case resp.StatusCode >= 300:
		return resp.StatusCode, fmt.Errorf("%d: %s", resp.StatusCode, data)
	case resp.StatusCode == http.StatusNoContent || out == nil:
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(data, out)
}

// Sign signs a request as the server and its runners do. Webhooks have no header Accept and are
// signed by date and digest only.
// https://datatracker.ietf.org/doc/html/draft-cavage-http-signatures
func Sign(req *http.Request, body []byte, key string, at time.Time) {
	sum := sha256.Sum256(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Date", at.UTC().Format(http.TimeFormat))
	req.Header.Set("Digest", "SHA-256="+base64.StdEncoding.EncodeToString(sum[:]))
	names := []string{"date", "digest"}
	if req.Header.Get("Accept") != "" {
		names = []string{"accept", "accept-encoding", "content-type", "date", "digest"}
	}
	SignHeaders(req, key, names...)
}

// SignHeaders signs only the given headers.
func SignHeaders(req *http.Request, key string, names ...string) {
	lines := make([]string, 0, len(names))
	for _, name := range names {
		lines = append(lines, name+": "+req.Header.Get(name))
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(strings.Join(lines, "\n")))
	req.Header.Set("Signature", fmt.Sprintf(`keyId="hmac-key",algorithm="hmac-sha256",signature="%s",headers="%s"`,
		base64.StdEncoding.EncodeToString(mac.Sum(nil)), strings.Join(names, " ")))
}
