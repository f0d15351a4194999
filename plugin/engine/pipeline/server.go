package pipeline

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxAge bounds the difference between the time of a CI's signature and our clock, in both
	// directions.
	MaxAge = 5 * time.Minute
	// maxSkew is the difference between two clocks from which ClockProblem reports it.
	maxSkew = 30 * time.Second
)

// CheckAge returns an error if signed differs from now by more than MaxAge.
func CheckAge(signed, now time.Time) error {
	if age := now.Sub(signed).Abs(); age > MaxAge {
		return fmt.Errorf(
			"the time of its signature differs from our clock by %s, and at most %s is allowed: check both clocks",
			age.Round(time.Second), MaxAge,
		)
	}
	return nil
}

// ClockProblem returns a message if a server's clock differs from ours. It returns "" if the clocks
// agree, or if theirs is zero because the server sent no time. It matters because signatures are
// valid for minutes only.
func ClockProblem(theirs, now time.Time) string {
	if skew := now.Sub(theirs).Abs(); !theirs.IsZero() && skew > maxSkew {
		return fmt.Sprintf(
			"its clock differs from ours by %s, so its requests will be refused: start a time service on both",
			skew.Round(time.Second),
		)
	}
	return ""
}

// Older reports whether a version such as 3.13.9 or v2.27.2 is below major.minor. A text that is
// not a version, such as next-abc, counts as new.
func Older(version string, major, minor int) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	theirMajor, err := strconv.Atoi(parts[0])
	theirMinor, minorErr := strconv.Atoi(parts[1])
	return err == nil && minorErr == nil && (theirMajor < major || (theirMajor == major && theirMinor < minor))
}

// WithoutURL returns a transport error without the URL, because the URL contains parameters.
func WithoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
