package autobuild

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// StatusState is the state of a commit's build status, as Bitbucket Cloud names it.
type StatusState string

// The states of Bitbucket Cloud. Data Center has CANCELLED instead of STOPPED.
const (
	StatusInProgress StatusState = "INPROGRESS"
	StatusSuccessful StatusState = "SUCCESSFUL"
	StatusFailed     StatusState = "FAILED"
	StatusStopped    StatusState = "STOPPED"
)

// StatusOf maps a build's state to the status of its commit. The result is never empty.
func StatusOf(s State) StatusState {
	switch s {
	case Succeeded:
		return StatusSuccessful
	case Failed, Errored:
		return StatusFailed
	case Cancelled:
		return StatusStopped
	default:
		return StatusInProgress
	}
}

// A Status is a build's status on its commit, as Bitbucket shows it.
type Status struct {
	Key         string // at most 40 characters, stable; see StatusKey
	State       StatusState
	Name        string // at most 255 characters
	Description string // at most 255 characters
	URL         string // absolute, at most 450 characters
	RefName     string // the branch; empty for tags, so that Bitbucket finds the status's pull requests
}

// StatusKey returns the key of a status: one per (automated build, rule, kind, ref). It has
// 40 characters, the limit of Bitbucket Cloud.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
func StatusKey(instanceID, automatedBuildID, ruleID, kind, fullRef string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{instanceID, automatedBuildID, ruleID, kind, fullRef}, "\x00")))
	return "slipway-" + hex.EncodeToString(sum[:16])
}
