// Package sandbox starts BuildKit's server in namespaces of its own, and predicts whether and how a
// server can run on this machine. The server itself is in package server, so that a program without it
// starts faster. Package buildkit is the client.
package sandbox
