package rules

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"

	"slipway/plugin/autobuild"
)

const maxPath = 1000

// resolvePaths returns the context and the Dockerfile as clean paths relative to the repository's
// root; the root is ".". A Dockerfile is relative to its context. If the context is blank, the
// Dockerfile is relative to the root, and its folder is the context.
//
// A path cannot leave the repository. The runner refuses symbolic links that do.
func resolvePaths(context, dockerfile string) (dir, file string, err error) {
	if err := errors.Join(checkPath("context", context), checkPath("dockerfile", dockerfile)); err != nil {
		return "", "", err
	}
	dockerfile = strings.TrimSpace(dockerfile)
	if dockerfile == "" || strings.HasSuffix(dockerfile, "/") {
		dockerfile += "Dockerfile"
	}
	if path.Base(dockerfile) == "." {
		return "", "", autobuild.FieldError{Field: "dockerfile",
			Message: dockerfile + ": it names a directory; leave it blank for the Dockerfile there"}
	}
	context = strings.TrimSpace(context)
	if context == "" {
		file = fromRoot(dockerfile)
		return path.Dir(file), file, nil
	}
	dir = fromRoot(context)
	return dir, fromRoot(path.Join(dir, dockerfile)), nil
}

func fromRoot(p string) string {
	return path.Clean(strings.TrimLeft(p, "/"))
}

func checkPath(field, p string) error {
	fault := func(message string) error { return autobuild.FieldError{Field: field, Message: message} }
	if len(p) > maxPath {
		return fault(fmt.Sprintf("%d bytes: at most %d are allowed", len(p), maxPath))
	}
	if strings.ContainsFunc(p, unicode.IsControl) {
		return fault("it contains a control character")
	}
	if strings.Contains(p, `\`) {
		return fault(p + ": it contains a backslash: separate directories with /")
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return fault(fmt.Sprintf("%s: .. is not allowed, paths begin at the repository's root", p))
		}
	}
	return nil
}

// fieldErrors splits joined field errors.
func fieldErrors(err error) []autobuild.FieldError {
	var fault autobuild.FieldError
	if errors.As(err, &fault) {
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			return []autobuild.FieldError{fault}
		}
		var faults []autobuild.FieldError
		for _, e := range joined.Unwrap() {
			faults = append(faults, fieldErrors(e)...)
		}
		return faults
	}
	return nil
}
