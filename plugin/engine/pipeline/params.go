package pipeline

import (
	"strconv"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// The parameters of a pipeline. They are no secrets: whoever sees the pipeline on the CI sees
// them. No other parameter is ever passed, for they become environment variables of every step.
const (
	paramBuild   = "SLIPWAY_BUILD"
	paramAttempt = "SLIPWAY_ATTEMPT"
	paramNonce   = "SLIPWAY_NONCE"
)

// Params say whose pipeline this is.
type Params struct {
	BuildID string
	Attempt int
	// Nonce is known to the pipeline that was started for the attempt and to no other one: the
	// gateway has its hash. Empty in what a pipeline is looked for by.
	Nonce string
}

// Map is the form that a CI takes.
func (p Params) Map() map[string]string {
	return map[string]string{paramBuild: p.BuildID, paramAttempt: strconv.Itoa(p.Attempt), paramNonce: p.Nonce}
}

// ReadParams reads what a CI says of a pipeline; ok is false for one that is none of ours.
func ReadParams(given map[string]string) (p Params, ok bool) {
	attempt, err := strconv.Atoi(given[paramAttempt])
	p = Params{BuildID: given[paramBuild], Attempt: attempt, Nonce: given[paramNonce]}
	return p, err == nil && p.BuildID != "" && attempt > 0 && p.Nonce != ""
}

// Of reports whether the parameters are of a pipeline of that attempt.
func (p Params) Of(buildID string, attempt int) bool {
	return p.BuildID == buildID && p.Attempt == attempt
}

func (p Params) nonceHash() string { return autobuild.TokenHash(secret.New(p.Nonce)) }
