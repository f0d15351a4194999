package pipeline

// A Step is how pipelines run the runner, as an administrator set it.
type Step struct {
	// URL returns where the runner of a build asks for its work.
	URL func(buildID string) string
	// ProbeURL is where the runner of a probe does.
	ProbeURL string
	// Image is the container image with the slipway program; where a CI runs steps without
	// containers, the program itself.
	Image string
	// Builder is the address of the builder that runners use; empty = each starts its own.
	Builder string
	// Labels choose the CI's agents that may run it; none = any.
	Labels map[string]string
}

// RunnerURL returns the runner's address in the pipeline of a build, or of a probe.
func (s Step) RunnerURL(buildID string) string {
	if buildID == probeID {
		return s.ProbeURL
	}
	return s.URL(buildID)
}

// TokenSecret is what pipelines call the secret that the secret extension answers with.
const TokenSecret = "slipway_runner_token"

// A Finding is one thing that was looked at on a CI, in words for an administrator.
type Finding struct {
	Subject string // as "token"
	Good    string // what was found, where all is well
	Problem string // what is wrong, with what mends it; empty = nothing
	Unknown bool   // nothing shows yet whether all is well; Good says what to look at
}
