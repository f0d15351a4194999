package builder

import "time"

// What the server (package server), its starter and its client have in common.
const (
	// ReadyMessage is what the log of a server says once its socket answers.
	ReadyMessage = "builder is ready"
	// StopGrace is how long running solves may go on after a stop was asked for.
	StopGrace = 3 * time.Second
	// FrontendDockerfile is BuildKit's name of the built-in frontend.
	FrontendDockerfile = "dockerfile.v0"
	// RefusedADD is how a refusal begins; what stands before it are the words of Go's network stack.
	RefusedADD = "ADD may not fetch from "
)
