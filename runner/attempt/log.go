package attempt

import (
	"strings"
	"time"

	"slipway/config/text"
	"slipway/runner/spec"
)

// logHeader logs the commit, the image and the tags.
func (j *job) logHeader() {
	s := j.spec
	j.log.Line("Slipway build %d, attempt %d", s.Number, s.Attempt)
	tags := strings.Join(s.Tags, ", ")
	if !s.Publish {
		tags = "none: this build is tested and not published"
	}
	for _, row := range [][2]string{
		{"repository", s.Repository},
		{"commit", text.Short(s.Source.Commit) + " of " + s.Source.Ref},
		{"message", text.FirstLine(s.Source.Message)},
		{"image", s.Image},
		{"tags", tags},
		{"Dockerfile", s.Dockerfile + ", context " + s.Context},
		{"time", "at most " + s.Timeout.Round(time.Second).String()},
	} {
		j.log.Line("  %-11s %s", row[0], row[1])
	}
}

// logEnd writes the last line.
func (j *job) logEnd(r spec.Result) {
	switch {
	case r.State == spec.Succeeded && r.Digest != "":
		j.log.Line("\nsucceeded: %s", r.Digest)
	case r.State == spec.Succeeded:
		j.log.Line("\nsucceeded")
	default:
		j.log.Line("\n%s (%s): %s", r.State, r.Reason, r.Detail)
	}
}
