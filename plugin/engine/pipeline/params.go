package pipeline

import (
	"strconv"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// The parameters of a pipeline. They are not secret: the CI shows them on the pipeline's page.
// Pipelines get no other parameters, because a CI turns each one into an environment variable of
// every step.
const (
	paramBuild   = "SLIPWAY_BUILD"
	paramAttempt = "SLIPWAY_ATTEMPT"
	paramNonce   = "SLIPWAY_NONCE"
)

// Params identify the attempt that a pipeline was started for.
type Params struct {
	BuildID string
	Attempt int
	// Nonce proves that the gateway started the pipeline. Only this pipeline has it; the gateway
	// stores its hash. It is empty when Params are used to find a pipeline.
	Nonce string
}

// Map returns the parameters as a CI takes them, by name.
func (p Params) Map() map[string]string {
	return map[string]string{paramBuild: p.BuildID, paramAttempt: strconv.Itoa(p.Attempt), paramNonce: p.Nonce}
}

// ReadParams reads the parameters that a CI sends with a pipeline. ok is false if one of ours is
// missing or malformed.
func ReadParams(given map[string]string) (p Params, ok bool) {
	attempt, err := strconv.Atoi(given[paramAttempt])
	p = Params{BuildID: given[paramBuild], Attempt: attempt, Nonce: given[paramNonce]}
	return p, err == nil && p.BuildID != "" && attempt > 0 && p.Nonce != ""
}

// Of reports whether the parameters belong to a pipeline of the given attempt. It ignores Nonce.
func (p Params) Of(buildID string, attempt int) bool {
	return p.BuildID == buildID && p.Attempt == attempt
}

func (p Params) nonceHash() string { return autobuild.TokenHash(secret.New(p.Nonce)) }
