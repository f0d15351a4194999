package pipeline

// A Step holds the administrator's settings for the pipeline step that runs the runner.
type Step struct {
	// URL returns the gateway address at which the runner of a build claims its work.
	URL func(buildID string) string
	// ProbeURL is the gateway address for the runner of a probe.
	ProbeURL string
	// Image is the container image with the slipway program. For a CI that runs steps without
	// containers it is the path of the program.
	Image string
	// Builder is the address of the builder that runners use. If it is empty, each runner starts
	// its own.
	Builder string
	// Labels select the CI's agents that may run the step. If it is empty, any agent may.
	Labels map[string]string
}

// RunnerURL returns the runner's address for the pipeline of a build or a probe.
func (s Step) RunnerURL(buildID string) string {
	if buildID == probeID {
		return s.ProbeURL
	}
	return s.URL(buildID)
}

// TokenSecret is the name of the secret in pipelines. The secret extension returns its value.
const TokenSecret = "slipway_runner_token"

// A Finding is the result of one check of a CI, in words for an administrator.
type Finding struct {
	Subject string // the checked object, e.g. "token"
	Good    string // the result of a successful check
	Problem string // the error and its fix; empty = none
	Unknown bool   // the result is not known yet; Good names the setting to check
	Fixable bool   // Fix of the engine changes it
}
