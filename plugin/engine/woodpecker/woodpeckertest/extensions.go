package woodpeckertest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"
)

const (
	tries     = 3
	firstWait = 100 * time.Millisecond // a fifth of Woodpecker's pause
)

var (
	errFiltered = errors.New("filtered")
	errBroken   = errors.New("database is locked")
	errConfig   = errors.New("could not load config from forge")
)

// create creates a pipeline like Woodpecker: it assigns the number, then calls the config
// extension, and calls the secret extension when it compiles the configuration.
func (s *Server) create(r *Repository, p *Pipeline) (Pipeline, error) {
	s.mu.Lock()
	p.repo, p.Number, p.Status = r, int64(len(r.pipelines)+1), "created"
	r.pipelines = append(r.pipelines, p)
	own, config, secret := r.ownConfig, s.config, s.secret
	if r.settings.ConfigEndpoint != "" {
		config = r.settings.ConfigEndpoint
	}
	if r.settings.ConfigExclusive {
		own = ""
	}
	if r.settings.SecretEndpoint != "" {
		secret = r.settings.SecretEndpoint
	}
	broken := s.breakNext
	s.breakNext = false
	s.mu.Unlock()
	from, err := s.configOf(r, p, config, own)
	if broken {
		return Pipeline{}, errBroken
	}
	if err != nil {
		return s.failed(p, err), errConfig
	}
	parsed, err := parse(from.Data)
	if from.Data == "" || (err == nil && !parsed.runsOn(p.Event)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		p.Status, p.Event = "deleted", "deleted" // Woodpecker does not reuse the number and lists the pipeline nowhere
		return Pipeline{}, errFiltered
	}
	if err != nil {
		return s.failed(p, err), nil
	}
	steps, err := parsed.compile(s.o, s.secretsOf(r, p, secret))
	if err != nil {
		return s.failed(p, err), nil
	}
	s.mu.Lock()
	for _, one := range steps {
		s.nextStep++
		one.ID = s.nextStep
	}
	p.Workflows, p.Status = []*workflow{{Name: from.workflow(), State: "pending", Children: steps}}, "pending"
	s.queue = append(s.queue, p)
	s.cancelPrevious(r, p)
	c := p.copy()
	s.mu.Unlock()
	s.dispatch()
	return c, nil
}

func (s *Server) failed(p *Pipeline, err error) Pipeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Status, p.Errors = "error", []fault{{Message: err.Error()}}
	return p.copy()
}

// A file is a configuration file.
type file struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// workflow returns the name of a file's workflow.
func (f file) workflow() string {
	return strings.TrimPrefix(strings.TrimSuffix(path.Base(f.Name), ".yaml"), ".")
}

func (s *Server) configOf(r *Repository, p *Pipeline, url, own string) (file, error) {
	original := file{".woodpecker.yaml", own}
	var old []file
	if own != "" {
		old = []file{original}
	}
	if url == "" {
		return original, nil
	}
	var reply struct {
		Configs []file `json:"configs"`
	}
	status, err := s.send(
		url, map[string]any{"repo": s.locked(r.json), "pipeline": p, "netrc": nil, "configuration": old},
		&reply,
	)
	switch {
	case status == http.StatusNoContent:
		return original, nil
	case err != nil:
		return file{}, fmt.Errorf("%w: failed to fetch config via http (status: %d): %w", errConfig, status, err)
	case len(reply.Configs) == 0:
		return file{}, nil
	}
	return reply.Configs[0], nil
}

// secretsOf returns the secrets of the extension. It returns none if the extension fails.
func (s *Server) secretsOf(r *Repository, p *Pipeline, url string) map[string]string {
	secrets := map[string]string{}
	if url == "" {
		return secrets
	}
	var reply struct {
		Secrets []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"secrets"`
	}
	if _, err := s.send(url, map[string]any{"repo": s.locked(r.json), "pipeline": p}, &reply); err == nil {
		for _, one := range reply.Secrets {
			secrets[one.Name] = one.Value
		}
	}
	return secrets
}

func (s *Server) locked(f func() map[string]any) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// send signs and sends a request. It retries after a 5xx, a refused connection, and a 204, because
// Woodpecker cannot parse the empty body.
func (s *Server) send(url string, in, out any) (status int, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	wait := firstWait
	for range tries {
		status, err = s.once(url, body, out)
		if err == nil || (status >= 400 && status < 500) {
			return status, err
		}
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
		wait += wait / 2
	}
	return status, err
}

func (s *Server) once(url string, body []byte, out any) (int, error) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	s.Sign(req, body, time.Now())
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
		return resp.StatusCode, fmt.Errorf("response: %s", data)
	}
	return resp.StatusCode, json.NewDecoder(bytes.NewReader(data)).Decode(out)
}

// Sign signs a request as the server does: RFC 9421 with ed25519.
func (s *Server) Sign(req *http.Request, body []byte, at time.Time) {
	sum := sha256.Sum256(body)
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	params := fmt.Sprintf(`("@request-target" "content-digest");created=%d;alg="ed25519"`, at.Unix())
	s.mu.Lock()
	private := s.private
	s.mu.Unlock()
	base := fmt.Sprintf(
		"\"@request-target\": %s\n\"content-digest\": %s\n\"@signature-params\": %s",
		req.URL.RequestURI(), digest, params,
	)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Digest", digest)
	req.Header.Set("Signature-Input", "woodpecker-ci-extensions="+params)
	req.Header.Set(
		"Signature",
		"woodpecker-ci-extensions=:"+base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(base)))+":",
	)
}
