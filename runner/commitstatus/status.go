package commitstatus

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"slipway/plugin/bitbucket"
	"slipway/runner/ci"
)

// State is the state of a commit's build status, in Cloud's words.
type State string

// Bitbucket's states. Data Center is told CANCELLED in place of STOPPED.
const (
	InProgress State = "INPROGRESS"
	Successful State = "SUCCESSFUL"
	Failed     State = "FAILED"
	Stopped    State = "STOPPED"
)

// A Subject is what a step builds; what tells its status from those of other steps on the same
// commit. Tags are no part of it: those that hold a build's number would leave the failed
// status of an earlier run behind.
type Subject struct{ Image, Dockerfile, Context, Target string }

// A Report is the status of one commit, but for what changes while the step runs.
type Report struct {
	Commit string // full hash; of an annotated tag on Data Center it may be the tag's object
	IsTag  bool
	Key    string
	Name   string
	URL    string // the pipeline's
	Branch string // the branch, a pull request's source; empty for tags and where it is not known
	Parent string // the same for every ref: what Data Center's merge check "required builds" asks for
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Describe makes the report of a step: key is the one that was set, or empty. Its error says
// what is missing.
func Describe(run ci.Run, s Subject, key string) (Report, error) {
	if !fullHash.MatchString(run.Commit) {
		return Report{}, errors.New("the CI does not say which commit it builds (DRONE_COMMIT_SHA or CI_COMMIT_SHA)")
	}
	if run.PipelineLink == "" {
		return Report{}, errors.New("the CI does not say the pipeline's address, and a status needs a link (DRONE_BUILD_LINK or CI_PIPELINE_URL)")
	}
	link, err := bitbucket.StatusURL(run.PipelineLink)
	if err != nil {
		return Report{}, fmt.Errorf("the pipeline's address (%s): %w", run.Origins["PipelineLink"], err)
	}
	name := s.Image
	if s.Target != "" {
		name += " (" + s.Target + ")"
	}
	name = bitbucket.StatusText(name)
	r := Report{Commit: run.Commit, IsTag: run.Kind() == ci.Tag, Key: key, Name: name, URL: link, Branch: branch(run), Parent: key}
	if key == "" {
		r.Key, r.Parent = Key(run, s), name
	}
	return r, nil
}

// Key is the identity of a step's status on a commit: one for each ref, kind of ref and
// subject, 40 characters, Cloud's limit. Running the pipeline again overwrites it.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/.
func Key(run ci.Run, s Subject) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		"step", run.Repository, s.Image, s.Dockerfile, s.Context, s.Target, string(run.Kind()), run.Ref,
	}, "\x00")))
	return "slipway-" + hex.EncodeToString(sum[:16])
}

// branch is what pull requests find a status by: none for tags.
func branch(run ci.Run) string {
	switch run.Kind() {
	case ci.Branch:
		return run.Name()
	case ci.PullRequest:
		return run.SourceBranch
	}
	return ""
}

// digestRoom is the room that a description keeps for a digest, in characters.
const digestRoom = len(" at sha256:") + 2*sha256.Size

// Built describes an image: its tags, shortened where they are many, and its whole digest.
func Built(verb string, tags []string, digest string) string {
	text := verb
	if len(tags) > 0 {
		text += " " + strings.Join(tags, ", ")
	}
	if most := bitbucket.MaxStatusText - digestRoom; len(text) > most { // tags are ASCII
		text = text[:most-len("…")] + "…"
	}
	return text + " at " + digest
}
