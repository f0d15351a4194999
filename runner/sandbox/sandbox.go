// Package sandbox starts BuildKit's server in its own namespaces. It also predicts whether and how a
// server can run on this machine. The server is in package server, so that a program without it starts
// faster. Package buildkit is the client.
package sandbox
