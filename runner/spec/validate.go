package spec

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"slipway/config/grammar"
)

// A FieldError is a fault of a spec: the field, named as in its JSON form, and the problem.
type FieldError struct {
	Field   string
	Message string
}

// Error returns the field and the problem, for example "image: ...".
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// The grammar of image names and tags follows
// https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
// and, for the host, https://github.com/distribution/reference. Lengths are checked separately: in an
// expression, each length becomes as many states at every start of the program.
var (
	hexShape   = regexp.MustCompile(`^[0-9a-f]+$`)
	tagShape   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	imageShape = regexp.MustCompile(
		`^(?:` + hostPattern + `/)?` + componentPattern + `(?:/` + componentPattern + `)*$`,
	)
)

const (
	labelPattern     = `[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?`
	hostPattern      = `(?:` + labelPattern + `(?:\.` + labelPattern + `)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?`
	componentPattern = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
	maxImage         = 255
	maxTag           = 128
)

// Validate checks everything in a spec that becomes an argument, a path or a name. The
// error joins one *FieldError for each fault.
func (s Spec) Validate() error {
	var faults []error
	check := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, &FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
		}
	}
	check(s.BuildID != "", "build_id", "is missing")
	check(s.Attempt > 0, "attempt", "is %d; attempts count from 1", s.Attempt)
	check(s.Timeout > 0, "timeout", "is %s; it must be positive", s.Timeout)
	s.Source.check(check)
	s.checkImage(check)
	check(
		isCleanPath(s.Dockerfile) && s.Dockerfile != ".",
		"dockerfile",
		"%q is not a clean path below the repository's root",
		s.Dockerfile,
	)
	check(
		isCleanPath(s.Context),
		"context",
		"%q is not a clean path below the repository's root; the root is %q",
		s.Context,
		".",
	)
	for name := range s.BuildArgs {
		check(grammar.IsVariable(name), "build_args", "%q is not a name of a build argument", name)
	}
	for _, p := range s.Platforms {
		check(grammar.IsPlatform(p), "platforms", "%q is not a platform: set os/arch, for example linux/amd64", p)
	}
	return errors.Join(faults...)
}

type checker func(ok bool, field, format string, args ...any)

func (s Source) check(check checker) {
	check(isFetchable(s.URL), "source.url", "is not an http or https address without a user")
	check(isFullHash(s.Commit), "source.commit", "%q is not a full hash of 40 or 64 lower-case hex digits", s.Commit)
	check(isFullRef(s.Ref), "source.ref", "%q is not a full ref name, for example refs/heads/main", s.Ref)
	check(isPrintable(s.RefName), "source.ref_name", "%q has control characters", s.RefName)
}

func (s Spec) checkImage(check checker) {
	check(
		LegalImage(s.Image),
		"image",
		"%q is not an image name without a tag, for example registry.example.com/acme/app",
		s.Image,
	)
	check(!s.Publish || len(s.Tags) > 0, "tags", "are missing: there is nothing to publish")
	for _, tag := range s.Tags {
		check(
			LegalTag(tag),
			"tags",
			"%q is not a tag: up to 128 letters, digits, _, . and -, not beginning with . or -",
			tag,
		)
	}
	check(
		s.BuiltDigest == "" || LegalDigest(s.BuiltDigest),
		"built_digest",
		"%q is not a digest: use sha256: and 64 lower-case hex digits",
		s.BuiltDigest,
	)
}

func isFetchable(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		u.RawQuery == "" &&
		u.Fragment == ""
}

// isFullRef implements git-check-ref-format(1) for full names. Names like refs/heads/--upload-pack=x and
// refs/heads/a;id are legal: code that passes a ref to a program must guard against them.
func isFullRef(ref string) bool {
	if !strings.HasPrefix(ref, "refs/") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") ||
		strings.HasSuffix(ref, ".") {
		return false
	}
	if strings.ContainsAny(ref, " ~^:?*[\\") || !isPrintable(ref) {
		return false
	}
	parts := strings.Split(ref, "/")
	for _, part := range parts {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return len(parts) > 2
}

// isCleanPath reports whether p is a clean relative path that stays below its root.
func isCleanPath(p string) bool {
	return p != "" && p == path.Clean(p) && !path.IsAbs(p) && p != ".." && !strings.HasPrefix(p, "../") &&
		!strings.Contains(p, `\`) && isPrintable(p)
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// LegalImage reports whether image is a name without a tag, with or without a host.
func LegalImage(image string) bool { return len(image) <= maxImage && imageShape.MatchString(image) }

// LegalTag reports whether tag may name an image.
func LegalTag(tag string) bool { return len(tag) <= maxTag && tagShape.MatchString(tag) }

// isFullHash reports whether hash is a full commit hash, SHA-1 or SHA-256.
func isFullHash(hash string) bool {
	return (len(hash) == 40 || len(hash) == 64) && hexShape.MatchString(hash)
}

// LegalDigest reports whether digest is sha256: and 64 lower-case hexadecimal digits.
func LegalDigest(digest string) bool {
	sum, found := strings.CutPrefix(digest, "sha256:")
	return found && len(sum) == 64 && hexShape.MatchString(sum)
}
