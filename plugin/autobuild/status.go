package autobuild

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// StatusState is the state of a commit's build status, in Cloud's words.
type StatusState string

// Bitbucket's states. Data Center has CANCELLED in place of STOPPED.
const (
	StatusInProgress StatusState = "INPROGRESS"
	StatusSuccessful StatusState = "SUCCESSFUL"
	StatusFailed     StatusState = "FAILED"
	StatusStopped    StatusState = "STOPPED"
)

// StatusOf maps a build's state to the status of its commit. There is no empty answer.
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

// A Status is what the commit in Bitbucket shows of a build.
type Status struct {
	Key         string // at most 40 characters, stable; see StatusKey
	State       StatusState
	Name        string // at most 255 characters
	Description string // at most 255 characters
	URL         string // absolute, at most 450 characters
	RefName     string // the branch; empty for tags, so that pull requests associate rightly
}

// StatusKey is the identity of a status on a commit: one per (automated build, rule,
// kind, ref), 40 characters, Cloud's limit.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
func StatusKey(instanceID, automatedBuildID, ruleID, kind, fullRef string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{instanceID, automatedBuildID, ruleID, kind, fullRef}, "\x00")))
	return "slipway-" + hex.EncodeToString(sum[:16])
}
