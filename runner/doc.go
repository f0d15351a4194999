// Package runner is the command of the build step. It has three modes:
//
//   - an attempt of a build that a gateway's engine started (package attempt);
//   - the builds that a gateway has for a pipeline of the repository's own (package attempt);
//   - a step without a gateway (package step).
package runner
