package spec

import (
	"encoding/json"
	"fmt"
	"io"

	"slipway/config/secret"
)

// A probe is a step that builds nothing, and writes to the CI's log whether it could build. The gateway
// that started its pipeline reads that log. The probe posts to <gateway>/runner/v1/probe with its token.
// The response is a ProbeReply, or 401 if the token belongs to no running probe.
const (
	ProbePath = "/runner/v1/probe"

	// ProbeWell begins the line of a successful check. ProbeDone is the last line of a step that can
	// build. Any other step ends with an error line, as every command of this program does. After
	// ProbeSays, that line names the failed part (ProbeGateway, ProbeBuilder) or a setting.
	ProbeSays    = "slipway: "
	ProbeWell    = ProbeSays + "well: "
	ProbeDone    = ProbeSays + "this step can build"
	ProbeGateway = "the gateway: "
	ProbeBuilder = "the builder: "
)

// A ProbeReply holds the client certificate that a probe needs to reach its builder, as Spec does.
type ProbeReply struct{ BuilderTLS secret.Secret }

type wireProbe struct {
	BuilderTLS string `json:"builder_tls,omitempty"`
}

// EncodeProbe writes a reply with its secret in plain text, for the step with a probe's token.
func EncodeProbe(w io.Writer, r ProbeReply) error {
	if err := json.NewEncoder(w).Encode(wireProbe{r.BuilderTLS.Reveal()}); err != nil {
		return fmt.Errorf("encode the response to a probe: %w", err)
	}
	return nil
}

// DecodeProbe reads a reply of EncodeProbe, at most MaxBody bytes.
func DecodeProbe(r io.Reader) (ProbeReply, error) {
	var wire wireProbe
	if err := json.NewDecoder(io.LimitReader(r, MaxBody)).Decode(&wire); err != nil {
		return ProbeReply{}, fmt.Errorf("decode the response to a probe: %w", err)
	}
	return ProbeReply{BuilderTLS: secret.New(wire.BuilderTLS)}, nil
}
