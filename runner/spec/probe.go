package spec

// A probe is a step that builds nothing and tells, in the CI's log, whether it could: whoever
// started its pipeline reads it there. Its URL is <gateway>/runner/v1/probe, which answers a POST
// with its token with 204, or with 401 where that is not of a probe, or no longer.
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
