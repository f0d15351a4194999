// Package autobuild holds the nouns of the gateway and its ports.
//
// A Push moves refs; each moved ref is a Change. Each Rule of an AutomatedBuild decides about a Change
// with an explained Decision. A decision to build becomes a Build, which runs as one or more
// Attempts on an Engine. Its Status is reported to Bitbucket.
//
// The package imports only the standard library and config/secret. All other packages of the
// gateway import it.
package autobuild
