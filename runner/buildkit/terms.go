package buildkit

// Constants that the client and the server (package sandbox/server) share.
const (
	// FrontendDockerfile is BuildKit's name of the built-in frontend.
	FrontendDockerfile = "dockerfile.v0"
	// RefusedADD is the beginning of a refusal. The text before it comes from Go's network stack.
	RefusedADD = "ADD may not fetch from "
	// RefusedRegistry is the beginning of a refusal of a registry, or of an address that a registry names.
	RefusedRegistry = "builds may not connect to "
	// DiskFull is the beginning of the reason for which a build failed on the full disk of its builder.
	DiskFull = "the disk of the builder is full"
	// ContextName is the name of the build context in Dockerfile frontends.
	ContextName = "context"
	// ServerPackage is the package in the version of Slipway's builder. It receives each context into an empty
	// directory.
	ServerPackage = "slipway"
)
