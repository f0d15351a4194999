package api

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"slipway/config/text"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
	"slipway/runner/spec"
)

// Users of a repository can control some runners, and other users see the stored reports. So this
// file checks the format and size of every field. The store checks which tags a build may move.

const (
	// maxReport is the size limit of claim, events, permit and finish requests, in bytes.
	maxReport = 512 << 10
	// maxTagReports is the maximum number of tags in one request. A rule has at most 50.
	maxTagReports = 200
	// maxVersion is the maximum length of a runner's version, in bytes.
	maxVersion = 100
	// maxSize is the largest image size, in bytes.
	maxSize = 1 << 44
)

var (
	knownStages = map[string]bool{
		spec.StageFetch: true,
		spec.StageBuild: true,
		spec.StageTest:  true,
		spec.StagePush:  true,
	}
	runnerShape = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// invalidField returns a 422 that names the invalid field of a request, for example "events[0].seq".
func invalidField(place, format string, args ...any) error {
	return &httpx.Error{Status: http.StatusUnprocessableEntity, Message: place + ": " + fmt.Sprintf(format, args...)}
}

// asInvalid maps an invalid field that the store found to a 422.
func asInvalid(err error) error {
	var fault autobuild.FieldError
	if errors.As(err, &fault) {
		return &httpx.Error{Status: http.StatusUnprocessableEntity, Message: fault.Error(), Err: err}
	}
	return err
}

func checkClaim(r spec.ClaimRequest) error {
	if !runnerShape.MatchString(r.RunnerID) {
		return &httpx.Error{Status: http.StatusBadRequest, Message: "runner_id: use 1 to 64 letters, digits, - and _"}
	}
	if len(r.Version) > maxVersion || strings.ContainsFunc(r.Version, unicode.IsControl) {
		return invalidField("version", "has more than %d bytes or control characters", maxVersion)
	}
	return nil
}

func checkEvents(events []spec.Event) error {
	if len(events) > spec.MaxEvents {
		return invalidField("events", "%d in one request: send at most %d", len(events), spec.MaxEvents)
	}
	for i, e := range events {
		place := func(field string) string { return fmt.Sprintf("events[%d].%s", i, field) }
		if e.Seq < 1 {
			return invalidField(place("seq"), "is %d: count from 1", e.Seq)
		}
		switch e.Kind {
		case spec.StageStarted, spec.StageFinished:
			if !knownStages[e.Stage] {
				return invalidField(place("stage"), "%.40q is unknown: use fetch, build, test or push", e.Stage)
			}
		case spec.Built:
			if !spec.LegalDigest(e.Digest) {
				return badDigest(place("digest"), e.Digest)
			}
		default:
			return invalidField(place("kind"), "%.40q is unknown: use stage_started, stage_finished or built", e.Kind)
		}
	}
	return nil
}

func checkPermit(r spec.PermitRequest) error {
	if len(r.Tags)+len(r.ExtraTags) == 0 {
		return &httpx.Error{Status: http.StatusBadRequest, Message: "tags: missing: send the tags to move"}
	}
	if r.Digest != "" && !spec.LegalDigest(r.Digest) {
		return badDigest("digest", r.Digest)
	}
	if err := checkTags("tags", r.Tags); err != nil {
		return err
	}
	return checkTags("extra_tags", r.ExtraTags)
}

func checkResult(r spec.Result) error {
	if r.Digest != "" && !spec.LegalDigest(r.Digest) {
		return badDigest("digest", r.Digest)
	}
	if r.Size < 0 || r.Size > maxSize {
		return invalidField("size", "is %d: send a number of bytes from 0 to %d", r.Size, int64(maxSize))
	}
	if err := checkTags("tags", tagsOf(r.Tags)); err != nil {
		return err
	}
	return checkTags("extra_tags", tagsOf(r.ExtraTags))
}

func checkTags(place string, tags []string) error {
	if len(tags) > maxTagReports {
		return invalidField(place, "%d in one request: send at most %d", len(tags), maxTagReports)
	}
	for i, tag := range tags {
		if !spec.LegalTag(tag) {
			return invalidField(fmt.Sprintf("%s[%d]", place, i),
				"%.130q is not a tag: use up to 128 letters, digits, _, . and -", tag)
		}
	}
	return nil
}

func badDigest(place, digest string) error {
	return invalidField(place, "%.80q is not a digest: send sha256: and 64 hexadecimal digits", digest)
}

func tagsOf(results []spec.TagResult) []string {
	tags := make([]string, 0, len(results))
	for _, r := range results {
		tags = append(tags, r.Tag)
	}
	return tags
}

// plainText returns s as one line of at most limit bytes, without control characters.
func plainText(s string, limit int) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsPrint(c):
			return c
		case unicode.IsSpace(c):
			return ' '
		}
		return -1
	}, text.Clip(s, 4*limit))
	return text.Clip(s, limit)
}
