// Package buildservice is the protocol of the builder service. Only this part of Slipway has the rights
// to mount and to make namespaces. Its clients are the gateway and the runners.
//
// The gateway opens one connection for each attempt, and sends a Run. The service starts the runner as
// a user of its own, and reports its end. When the connection closes, also by a crash of the gateway,
// the service ends the runner and everything that belongs to the attempt.
//
// The runner inherits a socket, on which it asks for the builder of its trust domain and for the sandbox
// of its build hooks. The service identifies the attempt and the domain by that socket. So no message
// names a path, a command, a mount, or another attempt. The names of the servers that the runner serves
// in its sandbox are names in that sandbox only.
package buildservice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"slipway/config/secret"
)

// A Request is a message of the gateway. Exactly one field is set.
type Request struct {
	Run   *Run   `json:"run,omitempty"`   // the first message for an attempt
	Stop  *Empty `json:"stop,omitempty"`  // asks the runner to end
	Check *Empty `json:"check,omitempty"` // asks for the level of isolation; the only message then
	Space *Space `json:"space,omitempty"` // asks whether the disk has space for a cache; the only message then
}

// A Space asks whether the disk has space for the cache of a trust domain. The service starts the domain's builder.
type Space struct {
	Domain string `json:"domain"` // as in Run
}

// A SpaceReply answers a Space.
type SpaceReply struct {
	Problem string `json:"problem"` // why there is no space, with the disk and the setting; empty = there is space
}

// A Run starts the runner of an attempt.
type Run struct {
	Attempt string        `json:"attempt"` // name of the attempt, e.g. "b1-2": at most 64 of a-z, A-Z, 0-9, _ and -
	Domain  string        `json:"domain"`  // trust domain of the caches, e.g. "b1": at most 256 bytes
	URL     string        `json:"url"`     // base URL of the runner protocol
	Token   secret.Secret `json:"-"`       // token of the attempt
	Hooks   bool          `json:"hooks"`   // build hooks may run
	// Builder is the address of a builder that is not the service's, tcp://host:port; empty = the domain's own
	// builder.
	Builder string `json:"builder,omitempty"`
}

// A plainRun is a Run without its methods.
type plainRun Run

// A wireRun is the JSON form of a Run. It has the token as text, because a Secret encodes as ***.
type wireRun struct {
	*plainRun
	Token string `json:"token"`
}

// MarshalJSON encodes the Run with its token.
func (r Run) MarshalJSON() ([]byte, error) {
	plain := plainRun(r)
	return json.Marshal(wireRun{&plain, r.Token.Reveal()})
}

// UnmarshalJSON decodes a Run with its token.
func (r *Run) UnmarshalJSON(data []byte) error {
	wire := wireRun{plainRun: (*plainRun)(r)}
	if err := decodeStrictly(data, &wire); err != nil {
		return err
	}
	r.Token = secret.New(wire.Token)
	return nil
}

// A Reply is a message of the service to the gateway. Exactly one field is set.
type Reply struct {
	Started *Empty      `json:"started,omitempty"` // the runner runs
	Ended   *Ended      `json:"ended,omitempty"`   // the last message
	Level   *Level      `json:"level,omitempty"`   // the answer to Check
	Space   *SpaceReply `json:"space,omitempty"`   // the answer to Space
	Refused string      `json:"refused,omitempty"` // reason why the attempt was not started; the last message
}

// An Ended is the end of a runner.
type Ended struct {
	Error  string `json:"error"`  // e.g. "exit status 1"; empty = exit code 0
	Output string `json:"output"` // the end of its output; the build's log is not in it
}

// A Level describes how the service isolates the code of repositories.
type Level struct {
	Hooks   string   `json:"hooks"`    // full, or off
	Why     string   `json:"why"`      // reason why the level is not full; empty = it is full
	NotHeld []string `json:"not_held"` // limits that the service cannot enforce, each with the reason
}

// The levels of isolation for build hooks.
const (
	LevelFull      = "full"      // a sandbox with all namespaces, its own network, root file system and limits
	LevelContainer = "container" // another user, or Landlock, in the container of a CI's step
	LevelOff       = "off"       // build hooks do not run
)

// A RunnerRequest is a message of a runner. Exactly one field besides ID is set.
type RunnerRequest struct {
	ID      int    `json:"id"`                // the reply has the same ID
	Builder *Empty `json:"builder,omitempty"` // asks for a connection to the builder of the domain
	// Sandbox asks for the socket of the sandbox's process 1, and Listen for a listener inside the sandbox.
	Sandbox *Sandbox `json:"sandbox,omitempty"`
	Listen  *Listen  `json:"listen,omitempty"`
	Limit   *Empty   `json:"limit,omitempty"` // asks which limit the attempt met
}

// DiskFull begins the limit of an attempt whose disk is or was full.
const DiskFull = "the disk of the build is full"

// A RunnerReply answers a RunnerRequest. The file with it is the connection or listener, unless Error is
// set or the request asked for a limit.
type RunnerReply struct {
	ID      int    `json:"id"`
	Error   string `json:"error,omitempty"`
	Off     bool   `json:"off,omitempty"`      // this machine cannot run sandboxes; Error is the reason
	NoSpace bool   `json:"no_space,omitempty"` // the disk has no space for the cache of the builder; Error names it
	Limit   string `json:"limit,omitempty"`    // e.g. "killed: out of memory, limit 4 GB: SLIPWAY_BUILD_MEMORY"
}

// An Empty is a message without content.
type Empty struct{}

const (
	maxDomain  = 256
	maxURL     = 2048
	maxToken   = 4096
	maxAddress = 256
)

var attemptName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Check returns an error for a Run that the service refuses. The attempt names directories, and the
// other values become environment variables of the runner.
func (r Run) Check() error {
	switch {
	case !attemptName.MatchString(r.Attempt):
		return fmt.Errorf("the name of the attempt is %.80q: 1 to 64 of a-z, A-Z, 0-9, _ and - are allowed", r.Attempt)
	case checkDomain(r.Domain) != nil:
		return checkDomain(r.Domain)
	case r.Token.IsZero() || len(r.Token.Reveal()) > maxToken:
		return fmt.Errorf("the token has %d bytes: 1 to %d are allowed", len(r.Token.Reveal()), maxToken)
	case hasControl(r.Token.Reveal()):
		return errors.New("the token has a control character: only other characters are allowed")
	case len(r.Builder) > maxAddress:
		return fmt.Errorf("the address of the builder has %d bytes: at most %d are allowed", len(r.Builder), maxAddress)
	case hasControl(r.Builder):
		return fmt.Errorf("the address of the builder is %q: control characters are not allowed", r.Builder)
	case r.Builder != "" && !strings.HasPrefix(r.Builder, "tcp://"):
		// Another form could name a socket or a program of this machine.
		return fmt.Errorf("the address of the builder is %q: only tcp://host:port is allowed", r.Builder)
	}
	return checkURL(r.URL)
}

// Check returns an error for a Space that the service refuses.
func (s Space) Check() error { return checkDomain(s.Domain) }

func checkDomain(domain string) error {
	if domain == "" || len(domain) > maxDomain {
		return fmt.Errorf("the trust domain has %d bytes: 1 to %d are allowed", len(domain), maxDomain)
	}
	return nil
}

func checkURL(text string) error {
	if len(text) > maxURL {
		return fmt.Errorf("the URL of the runner protocol has %d bytes: at most %d are allowed", len(text), maxURL)
	}
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("the URL of the runner protocol: %w", err)
	}
	if hasControl(text) || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("the URL of the runner protocol is %q: "+
			"only http and https URLs with a host and without control characters are allowed", text)
	}
	return nil
}

func hasControl(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return true
		}
	}
	return false
}

// decodeStrictly decodes one JSON value without unknown fields.
func decodeStrictly(data []byte, value any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(value); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}
