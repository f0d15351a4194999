package autobuild

// A Rule is one build rule, with Docker Hub's fields and meaning.
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/ (Set up automated builds).
type Rule struct {
	ID         string
	SourceType RefKind // Branch or Tag; a rule never matches the other kind
	Source     string  // literal = exact name; /…/ = unanchored RE2 search
	Tags       string  // comma list of templates: literals, {sourceref}, {\1}…{\9}
	Context    string  // path from the repository's root; "/" is the root; blank = the Dockerfile's folder
	Dockerfile string  // relative to Context; from the root when Context is blank
	Autobuild  bool    // off: a push never builds and pushes by this rule
	Caching    bool
	BuildArgs  map[string]string // values may hold {sourceref}
	Platforms  []string          // as linux/amd64; empty = the builder's own
	Paths      []string          // globs; build only when one of these changed
}

// DefaultRule is what a new automated build starts with: the default branch becomes latest.
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

// Autotest says which pull requests are tested.
type Autotest string

// Docker Hub's three settings.
const (
	AutotestOff      Autotest = "off"
	AutotestInternal Autotest = "internal"
	AutotestAll      Autotest = "all"
)

// A Decision is the explained answer of one rule to one change.
type Decision struct {
	Rule       string            `json:"rule"` // the rule's id, else its index
	Build      bool              `json:"build"`
	Publish    bool              `json:"publish"` // false: test only, nothing is pushed
	Tags       []string          `json:"tags"`    // in rule order, without doubles
	Dockerfile string            `json:"dockerfile,omitempty"`
	Context    string            `json:"context,omitempty"`
	BuildArgs  map[string]string `json:"-"`
	Reason     string            `json:"reason"`
}

// A FieldError is a fault in what a person typed: where it is and how to mend it.
type FieldError struct {
	Field   string // a path like rules[0].source
	Message string
}

func (e FieldError) Error() string { return e.Field + ": " + e.Message }
