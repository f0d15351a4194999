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
	// MaxAge is how far the time of a CI's signature may be from ours, in either direction.
	MaxAge = 5 * time.Minute
	// maxSkew is how far the two clocks may be apart before it is worth a word.
	maxSkew = 30 * time.Second
)

// CheckAge refuses what was signed too long ago, or too far ahead.
func CheckAge(signed, now time.Time) error {
	if age := now.Sub(signed).Abs(); age > MaxAge {
		return fmt.Errorf("it was signed %s from now by our clock, at most %s is taken: check both clocks", age.Round(time.Second), MaxAge)
	}
	return nil
}

// ClockProblem says that a server's clock is off ours; empty = it is not, or it tells no time
// (zero). Signatures count for minutes only.
func ClockProblem(theirs, now time.Time) string {
	if skew := now.Sub(theirs).Abs(); !theirs.IsZero() && skew > maxSkew {
		return fmt.Sprintf("its clock is %s off ours: its requests will be refused; start a time service on both", skew.Round(time.Second))
	}
	return ""
}

// Older reports whether a version, as 3.13.9 or v2.27.2, is below major.minor. What is no
// version, as next-…, is taken to be new.
func Older(version string, major, minor int) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	theirMajor, err := strconv.Atoi(parts[0])
	theirMinor, minorErr := strconv.Atoi(parts[1])
	return err == nil && minorErr == nil && (theirMajor < major || (theirMajor == major && theirMinor < minor))
}

// WithoutURL is a transport's error without the address, which has parameters in it.
func WithoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
