package builder

import "time"

// Constants that the server (package server), the code that starts it, and the client share.
const (
	// ReadyMessage is the log message of a server that accepts connections.
	ReadyMessage = "builder is ready"
	// StopGrace is the time that running solves get to finish after a stop request.
	StopGrace = 3 * time.Second
	// FrontendDockerfile is BuildKit's name of the built-in frontend.
	FrontendDockerfile = "dockerfile.v0"
	// RefusedADD is the beginning of a refusal. The text before it comes from Go's network stack.
	RefusedADD = "ADD may not fetch from "
)
