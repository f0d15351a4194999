package spec

import (
	"encoding/json"
	"fmt"
	"io"

	"slipway/config/secret"
)

// The runner protocol, under <gateway>/runner/v1/builds/{id}, every request with
// "Authorization: Bearer <token>", the token bound to one build and attempt:
//
//	POST claim    ClaimRequest → the Spec (EncodeSpec). 409 if another runner has it.
//	POST events   EventsRequest → EventsReply. An empty list is the heartbeat, at least
//	              once a second. With the reply, the runner continues or stops.
//	POST log?offset=N   raw bytes → LogReply. Bytes before Size are skipped. An offset
//	              beyond Size is 409, with a LogReply that has the offset to continue at.
//	POST permit   PermitRequest → PermitReply. Requested before the first tag moves.
//	POST finish   Result → 204. Idempotent.
//
// The runner fetches the commit from the gateway's git proxy, with the same token:
//
//	GET  <gateway>/git/{id}/info/refs?service=git-upload-pack, and the further requests of smart HTTP.
//
// Error statuses:
//
//	401  unknown token
//	410  the attempt is over (canceled, timed out, followed by another one): the runner stops at once
//	     and reports nothing more
//	422  the request is malformed; the message names the place
//	429  wait for the seconds in Retry-After; a heartbeat a second is never refused
//	5xx  try again, as after a connection error

// A step in the repository's own pipeline gets such a token first, under
// <gateway>/runner/v1/automated/{id}, with the automated build's long-lived token:
//
//	POST join     PipelineRequest → PipelineReply (EncodePipelineReply). 404 if the push is not known yet: ask
//	              again. 409 if the automated build needs a change first.

// MaxBody bounds every request and reply but the log's chunks, in bytes.
const MaxBody = 4 << 20

// MaxLogChunk bounds the bytes of one log request.
const MaxLogChunk = 256 << 10

// A ClaimRequest names the runner, so the gateway can distinguish a repeated claim from a second runner.
type ClaimRequest struct {
	RunnerID string `json:"runner_id"` // random, one per process
	Version  string `json:"version"`
}

// MaxEvents bounds the events of one request, and MaxStages the stages of an attempt.
const (
	MaxEvents = 100
	MaxStages = 100
)

// EventsRequest carries the events since the last reply, at most MaxEvents.
type EventsRequest struct {
	Events []Event `json:"events"`
}

// EventsReply acknowledges events up to Seq.
type EventsReply struct {
	Seq    int64  `json:"seq"`
	Cancel bool   `json:"cancel,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// LogReply holds the number of bytes of the log that the gateway has.
type LogReply struct {
	Size int64 `json:"size"`
}

// A PermitRequest asks to move tags of the build's image to a digest. The digest is empty if the
// image is not built yet.
type PermitRequest struct {
	Digest string   `json:"digest"`
	Tags   []string `json:"tags"` // tags of Spec.Tags
	// ExtraTags are further tags, for example those that a build hook pushes: at most 100 a build, listed in
	// Result.ExtraTags.
	ExtraTags []string `json:"extra_tags,omitempty"`
}

// PermitReply grants or refuses a permit. A refused build ends as cancelled with the reason superseded.
type PermitReply struct {
	Granted bool   `json:"granted"`
	Reason  string `json:"reason,omitempty"`
}

// A PipelineRequest names a pipeline and the push that it builds.
type PipelineRequest struct {
	Commit   string `json:"commit"`   // full hash
	Ref      string `json:"ref"`      // full name, for example refs/heads/main
	Pipeline string `json:"pipeline"` // its link or name; a build goes to one pipeline only
}

// MaxPipeline bounds PipelineRequest.Pipeline, in bytes.
const MaxPipeline = 300

// A PipelineReply is a build to claim under builds/{BuildID}, or the Reason why there is none.
type PipelineReply struct {
	BuildID string        `json:"id,omitempty"`
	Build   int64         `json:"build"` // its number; 0 = nothing to build
	Token   secret.Secret `json:"-"`
	Reason  string        `json:"reason,omitempty"`
	Unsure  bool          `json:"unsure,omitempty"` // a build may still appear
}

// ErrorReply is the body of every 4xx and 5xx reply.
type ErrorReply struct {
	Error string `json:"error"`
}

type wireSpec struct {
	Spec
	Registries  []wireRegistry    `json:"registries,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	BuilderTLS  string            `json:"builder_tls,omitempty"`
}

type wireCredential struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

type wireRegistry struct {
	Host     string `json:"host"`
	Insecure bool   `json:"insecure,omitempty"`
	PullOnly bool   `json:"pull_only,omitempty"`
	wireCredential
}

// EncodeSpec writes a spec with its secrets in plain text, for the runner that has the attempt's token.
// Apart from it, only EncodePipelineReply and EncodeProbe reveal a secret, one each.
func EncodeSpec(w io.Writer, s Spec) error {
	ws := wireSpec{Spec: s, Environment: map[string]string{}, BuilderTLS: s.BuilderTLS.Reveal()}
	for _, r := range s.Registries {
		ws.Registries = append(ws.Registries, wireRegistry{
			Host: r.Host, Insecure: r.Insecure, PullOnly: r.PullOnly, wireCredential: reveal(r.Credential),
		})
	}
	for name, value := range s.Environment {
		ws.Environment[name] = value.Reveal()
	}
	if err := json.NewEncoder(w).Encode(ws); err != nil {
		return fmt.Errorf("encode spec of build %s: %w", s.BuildID, err)
	}
	return nil
}

// DecodeSpec reads a spec of EncodeSpec, at most MaxBody bytes.
func DecodeSpec(r io.Reader) (Spec, error) {
	var ws wireSpec
	if err := json.NewDecoder(io.LimitReader(r, MaxBody)).Decode(&ws); err != nil {
		return Spec{}, fmt.Errorf("decode spec: %w", err)
	}
	s := ws.Spec
	for _, wr := range ws.Registries {
		s.Registries = append(s.Registries, RegistryCredential{
			Host: wr.Host, Insecure: wr.Insecure, PullOnly: wr.PullOnly, Credential: conceal(wr.wireCredential),
		})
	}
	s.BuilderTLS = secret.New(ws.BuilderTLS)
	s.Environment = map[string]secret.Secret{}
	for name, value := range ws.Environment {
		s.Environment[name] = secret.New(value)
	}
	return s, nil
}

func reveal(c Credential) wireCredential {
	return wireCredential{Username: c.Username, Password: c.Password.Reveal()}
}

func conceal(c wireCredential) Credential {
	return Credential{Username: c.Username, Password: secret.New(c.Password)}
}

type wirePipelineReply struct {
	PipelineReply
	Token string `json:"token,omitempty"`
}

// EncodePipelineReply writes a reply with its token in plain text, for the step that sent the request.
func EncodePipelineReply(w io.Writer, r PipelineReply) error {
	if err := json.NewEncoder(w).Encode(wirePipelineReply{r, r.Token.Reveal()}); err != nil {
		return fmt.Errorf("encode the token of build %s: %w", r.BuildID, err)
	}
	return nil
}

// DecodePipelineReply reads a reply of EncodePipelineReply, at most MaxBody bytes.
func DecodePipelineReply(r io.Reader) (PipelineReply, error) {
	var wire wirePipelineReply
	if err := json.NewDecoder(io.LimitReader(r, MaxBody)).Decode(&wire); err != nil {
		return PipelineReply{}, fmt.Errorf("decode the response to a pipeline request: %w", err)
	}
	wire.PipelineReply.Token = secret.New(wire.Token)
	return wire.PipelineReply, nil
}
