// Package autobuild holds the nouns of the gateway and its ports.
//
// A push (Push) moves refs (Change); the rules of an automated build (AutomatedBuild,
// Rule) answer each change with an explained Decision; a decision to build becomes a
// Build, run as one or more Attempts on an Engine and told to Bitbucket as a Status.
// The package imports the standard library and config/secret only: everything else
// of the gateway imports it.
package autobuild
