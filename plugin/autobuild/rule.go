package autobuild

// A Rule is one build rule, with Docker Hub's fields and meaning.
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/ (Set up automated builds).
type Rule struct {
	ID         string
	SourceType RefKind // Branch or Tag; a rule never matches the other kind
	Source     string  // literal = exact name; /…/ = unanchored RE2 search
	Tags       string  // comma-separated templates: literals, {sourceref}, {\1}…{\9}
	Context    string  // path from the repository's root; "/" is the root; blank = the Dockerfile's directory
	Dockerfile string  // relative to Context; relative to the root if Context is blank
	Autobuild  bool    // off = pushes do not build by this rule
	Caching    bool
	BuildArgs  map[string]string // values may hold {sourceref}
	Platforms  []string          // for example linux/amd64; empty means the builder's platform
	Paths      []string          // globs; build only if a matching path changed
}

// DefaultRule returns the first rule of a new automated build: it builds the default branch as
// the tag latest.
func DefaultRule(branch string) Rule {
	return Rule{
		SourceType: Branch,
		Source:     branch,
		Tags:       "latest",
		Context:    "/",
		Dockerfile: "Dockerfile",
		Autobuild:  true,
		Caching:    true,
	}
}

// An Autotest selects the pull requests that are tested. This version tests none: it keeps stored settings
// and treats them as AutotestOff.
type Autotest string

// The settings, as Docker Hub has them.
const (
	AutotestOff      Autotest = "off"
	AutotestInternal Autotest = "internal"
	AutotestAll      Autotest = "all"
)

// A Decision is the result of one rule for one change, with its reason.
type Decision struct {
	Rule       string            `json:"rule"` // the rule's id, or its index if it has none
	Build      bool              `json:"build"`
	Publish    bool              `json:"publish"` // false: test only, nothing is pushed
	Tags       []string          `json:"tags"`    // in the order of the rule, without duplicates
	Dockerfile string            `json:"dockerfile,omitempty"`
	Context    string            `json:"context,omitempty"`
	BuildArgs  map[string]string `json:"-"`
	Reason     string            `json:"reason"`
}

// A FieldError is an invalid value in a form or file, with its place and the fix.
type FieldError struct {
	Field   string // a path, for example rules[0].source
	Message string
}

func (e FieldError) Error() string { return e.Field + ": " + e.Message }
