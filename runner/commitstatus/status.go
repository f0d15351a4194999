package commitstatus

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"slipway/config/grammar"
	"slipway/plugin/bitbucket"
	"slipway/runner/ci"
)

// State is the state of a commit's build status, with the values of Bitbucket Cloud.
type State string

// The states. Post sends CANCELLED instead of STOPPED to Data Center.
const (
	InProgress State = "INPROGRESS"
	Successful State = "SUCCESSFUL"
	Failed     State = "FAILED"
	Stopped    State = "STOPPED"
)

// A Subject identifies the image of a step. It distinguishes the statuses of several steps on one
// commit. It has no tags: if a tag contained the build number, a second run would not overwrite the
// failed status of the first.
type Subject struct{ Image, Dockerfile, Context, Target string }

// A Report holds the fields of a status that stay the same while the step runs.
type Report struct {
	Commit string // full hash; of an annotated tag on Data Center it may be the tag's object
	IsTag  bool
	Key    string
	Name   string
	URL    string // page of the pipeline
	Branch string // the branch, or a pull request's source branch; empty for tags and if unknown
	Parent string // key that is the same for every ref; Data Center's merge check "required builds" uses it
}

// Describe returns the report of a step. key is the status key that the user set; empty = derive it.
// The error names the missing value and the CI's variable for it.
func Describe(run ci.Run, s Subject, key string) (Report, error) {
	if !grammar.IsCommit(run.Commit) {
		return Report{}, errors.New("the CI does not set the commit (DRONE_COMMIT_SHA or CI_COMMIT_SHA)")
	}
	if run.PipelineLink == "" {
		return Report{}, errors.New("the CI does not set the pipeline's address, and a status needs a link " +
			"(DRONE_BUILD_LINK or CI_PIPELINE_URL)")
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
	r := Report{
		Commit: run.Commit,
		IsTag:  run.Kind() == ci.Tag,
		Key:    key,
		Name:   name,
		URL:    link,
		Branch: branch(run),
		Parent: key,
	}
	if key == "" {
		r.Key, r.Parent = Key(run, s), name
	}
	return r, nil
}

// Key returns the key of a step's status on a commit. It differs by repository, ref, kind of ref and
// subject, so a second run of the pipeline overwrites the status. It has 40 characters, which is
// Cloud's limit: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/.
func Key(run ci.Run, s Subject) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		"step", run.Repository, s.Image, s.Dockerfile, s.Context, s.Target, string(run.Kind()), run.Ref,
	}, "\x00")))
	return "slipway-" + hex.EncodeToString(sum[:16])
}

// branch returns the branch by which Bitbucket shows the status in pull requests, or "" for tags.
func branch(run ci.Run) string {
	switch run.Kind() {
	case ci.Branch:
		return run.Name()
	case ci.PullRequest:
		return run.SourceBranch
	}
	return ""
}

// digestLength is the number of characters that a description reserves for the digest.
const digestLength = len(" at sha256:") + 2*sha256.Size

// Built returns the description of an image: the verb, the tags, and the whole digest. It truncates
// the list of tags if the text would be longer than bitbucket.MaxStatusText.
func Built(verb string, tags []string, digest string) string {
	text := verb
	if len(tags) > 0 {
		text += " " + strings.Join(tags, ", ")
	}
	if limit := bitbucket.MaxStatusText - digestLength; len(text) > limit { // tags are ASCII
		text = text[:limit-len("…")] + "…"
	}
	if digest == "" { // a dry run makes no image
		return text
	}
	return text + " at " + digest
}
