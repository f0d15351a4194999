package spec

import (
	"encoding/json"
	"fmt"
	"io"

	"slipway/config/secret"
)

// A probe is a step that builds nothing and tells, in the CI's log, whether it could: whoever
// started its pipeline reads it there. Its URL is <gateway>/runner/v1/probe, which answers a POST
// with its token with a ProbeReply, or with 401 where that is not of a probe, or no longer.
const (
	ProbePath = "/runner/v1/probe"

	// ProbeWell begins a line about what is as it must be, and ProbeDone is the last one of a
	// step that can build. One that cannot ends with a line of an error, as every command of
	// this program does: after ProbeSays, the thing that is wrong (ProbeGateway,
	// ProbeBuilder), or else a setting's name.
	ProbeSays    = "slipway: "
	ProbeWell    = ProbeSays + "well: "
	ProbeDone    = ProbeSays + "this step can build"
	ProbeGateway = "the gateway: "
	ProbeBuilder = "the builder: "
)

// A ProbeReply is what the step of a probe needs to reach its builder, as Spec says it.
type ProbeReply struct{ BuilderTLS secret.Secret }

type wireProbe struct {
	BuilderTLS string `json:"builder_tls,omitempty"`
}

// EncodeProbe writes a reply with its secret in clear, for the step that has a probe's token.
func EncodeProbe(w io.Writer, r ProbeReply) error {
	if err := json.NewEncoder(w).Encode(wireProbe{r.BuilderTLS.Reveal()}); err != nil {
		return fmt.Errorf("encode the answer to a probe: %w", err)
	}
	return nil
}

// DecodeProbe reads what EncodeProbe wrote, at most MaxBody bytes.
func DecodeProbe(r io.Reader) (ProbeReply, error) {
	var wire wireProbe
	if err := json.NewDecoder(io.LimitReader(r, MaxBody)).Decode(&wire); err != nil {
		return ProbeReply{}, fmt.Errorf("decode the answer to a probe: %w", err)
	}
	return ProbeReply{BuilderTLS: secret.New(wire.BuilderTLS)}, nil
}
