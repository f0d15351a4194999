// Package spec defines the data of the runner: the work (Spec), its outcome (Result), and their wire form
// between a gateway and a runner. It imports only the standard library and config/secret.
package spec

import (
	"time"

	"slipway/config/secret"
)

// A Spec holds all data that a runner needs for one attempt of a build, and no more.
type Spec struct {
	BuildID    string `json:"build_id"`
	Number     int64  `json:"number"`
	Attempt    int    `json:"attempt"`
	Repository string `json:"repository"` // full name, for people

	Source Source `json:"source"`

	Image      string            `json:"image"` // registry/name, no tag: DOCKER_REPO
	Tags       []string          `json:"tags"`
	Dockerfile string            `json:"dockerfile"` // path from the repository's root, clean and relative
	Context    string            `json:"context"`    // path from the repository's root; "." is the root
	BuildArgs  map[string]string `json:"build_args,omitempty"`
	Platforms  []string          `json:"platforms,omitempty"`
	Caching    bool              `json:"caching"`
	Publish    bool              `json:"publish"` // false: build and test only

	// BuiltDigest is the digest that the newest earlier attempt reported as built; empty = none. That
	// attempt may have pushed before it was lost. If the registry has every tag at this digest, the
	// runner builds and pushes nothing. Otherwise it builds again and moves every tag.
	BuiltDigest string `json:"built_digest,omitempty"`

	// HooksOff is the reason why build hooks must not run, e.g. "SLIPWAY_HOOKS=off at the gateway". Empty
	// means that they may run. With a reason, a build whose repository has hooks fails.
	HooksOff string `json:"hooks_off,omitempty"`
	// TestsOff ignores the test files beside the Dockerfile. Without it a build that has one fails, because
	// this version does not run them.
	TestsOff bool `json:"tests_off,omitempty"`
	// PushHooks gives the push credential to the build hooks that push: pre_push, push, post_push, and
	// build if there is no push. Without it hooks/push, and a hooks/build that has to push, fail the build.
	// In a sandbox it has no effect: such hooks push through a proxy.
	PushHooks bool `json:"push_hooks,omitempty"`

	Timeout time.Duration `json:"timeout"` // time limit of the whole attempt, in nanoseconds

	Registries  []RegistryCredential     `json:"-"`
	Environment map[string]secret.Secret `json:"-"` // variables for build hooks and tests, never build args
	// BuilderTLS is the runner's client certificate for a builder on another machine (package
	// config/identity). It is used if the step has no certificate of its own.
	BuilderTLS secret.Secret `json:"-"`
}

// A Source is the commit to fetch. URL comes from configuration, never from a payload.
type Source struct {
	URL     string `json:"url"`
	Ref     string `json:"ref"`      // full name; the hash decides, the ref is a hint where to look
	RefName string `json:"ref_name"` // SOURCE_BRANCH: the branch or tag
	Commit  string `json:"commit"`   // 40 hex
	Message string `json:"message"`  // COMMIT_MSG: the message of the commit
}

// A Credential is a user name and password.
type Credential struct {
	Username string
	Password secret.Secret
}

// A RegistryCredential is a Credential for image names that begin with Host.
type RegistryCredential struct {
	Host     string
	Insecure bool // plain HTTP
	// PullOnly gives the credential to the build, for base images, and never to a push. Without
	// it the credential pushes, and no build sees it.
	PullOnly bool
	Credential
}

// State is the final state of an attempt.
type State string

// The final states. Failed is caused by the repository. Error is caused by the infrastructure, and
// worth another attempt.
const (
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	Error     State = "error"
)

// A Result is the outcome of an attempt.
type Result struct {
	State  State       `json:"state"`
	Reason string      `json:"reason,omitempty"` // one of autobuild.Reason
	Detail string      `json:"detail,omitempty"` // a sentence for people
	Digest string      `json:"digest,omitempty"` // digest of the image: sha256:…
	Size   int64       `json:"size,omitempty"`   // bytes, compressed, of all layers and the config
	Tags   []TagResult `json:"tags,omitempty"`   // results of Spec.Tags
	// ExtraTags are the further tags that permits granted.
	ExtraTags []TagResult `json:"extra_tags,omitempty"`
}

// A TagResult is the outcome of the push of one tag.
type TagResult struct {
	Tag   string `json:"tag"`
	Error string `json:"error,omitempty"`
}

// EventKind is the kind of an event.
type EventKind string

// The kinds of events.
const (
	StageStarted  EventKind = "stage_started"
	StageFinished EventKind = "stage_finished"
	Built         EventKind = "built" // Digest is set; reported before any tag is pushed
)

// The stages of a runner, in order. A stage without work is not reported.
const (
	StageFetch = "fetch"
	StageBuild = "build"
	StageTest  = "test"
	StagePush  = "push"
)

// An Event is one numbered step of an attempt. Sending it twice is harmless.
type Event struct {
	Seq    int64     `json:"seq"` // number of the event, from 1, without gaps
	Kind   EventKind `json:"kind"`
	Stage  string    `json:"stage,omitempty"`
	At     time.Time `json:"at"`
	Digest string    `json:"digest,omitempty"`
	Detail string    `json:"detail,omitempty"`
}
