package tags

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"

	"slipway/runner/ci"
)

// A version is the name of a Git tag, parsed as a semantic version. It may be short (1.2), have
// leading zeros (18.06.0), and begin with v. If the name is not a version, numbers is empty.
type version struct {
	whole      string   // the Git tag, for example v1.2.3-rc.1+b7
	name       string   // without the v, for example 1.2.3-rc.1+b7
	numbers    []string // numbers as written, for example 1, 2, 3
	prerelease string   // for example -rc.1; may be empty
	metadata   string   // for example +b7; may be empty
}

var (
	digits = regexp.MustCompile(`^[0-9]+$`)
	date   = regexp.MustCompile(`^([0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$`)
	year   = regexp.MustCompile(`^[1-9][0-9]{3}$`)
)

// versionOf parses the Git tag of a run. For other refs it returns the zero version.
func versionOf(run ci.Run) version {
	if run.Kind() != ci.Tag {
		return version{}
	}
	v := version{whole: run.Name(), name: strings.TrimPrefix(run.Name(), "v")}
	core, rest := v.name, ""
	if i := strings.IndexAny(v.name, "-+"); i >= 0 {
		core, rest = v.name[:i], v.name[i:]
	}
	numbers := strings.Split(core, ".")
	for _, number := range numbers {
		if !digits.MatchString(number) {
			return v
		}
	}
	prerelease, metadata, found := strings.Cut(rest, "+")
	if found {
		metadata = "+" + metadata
	}
	if date.MatchString(v.name) || !semver.IsValid("v1.0.0"+trimZeros(prerelease)+metadata) {
		return v
	}
	v.numbers, v.prerelease, v.metadata = numbers, prerelease, metadata
	return v
}

// isExact reports whether the version gets only its own tag, without the shorter tags 1 and 1.2.
func (v version) isExact() bool { return v.prerelease != "" || v.metadata != "" }

// tags returns the tags of the version in a mode.
func (v version) tags(mode Mode) ([]string, error) {
	switch {
	case date.MatchString(v.name) && mode != Docker:
		return []string{v.name}, nil
	case len(v.numbers) == 0 || len(v.numbers) > 3:
		return nil, v.noVersionError("1.2.3")
	case mode == Docker && len(v.numbers) < 3:
		return nil, v.noVersionError("1.2.3 in full (auto_tag_mode docker)")
	}
	numbers := v.numbers
	if mode == Buildx {
		numbers = append(append([]string{}, numbers...), "0", "0")[:3]
	}
	if mode == Buildx || mode == Docker && v.isExact() {
		numbers = strings.Split(trimZeros(strings.Join(numbers, ".")), ".")
	}
	if v.isExact() {
		return []string{strings.Join(numbers, ".") + v.prerelease + v.metadata}, nil
	}
	if mode == Buildx && year.MatchString(numbers[0]) && numbers[1] == "0" && numbers[2] == "0" {
		return numbers[:1], nil // docker-buildx treats 2024.0.0 as a date
	}
	return linesOf(numbers), nil
}

// noVersionError returns the error for a Git tag that is not a version of the required form.
func (v version) noVersionError(want string) error {
	return fmt.Errorf("the Git tag %q is not a version like v%s, so no image tags can be derived from it: "+
		"set the tags (setting tags, with auto_tag off), or run the step only for versions", v.whole, want)
}

// linesOf returns 1, 1.2 and 1.2.3 for 1.2.3. It never returns 0, because versions below 1 are not
// compatible with each other.
func linesOf(numbers []string) []string {
	var all []string
	for i := range numbers {
		if i > 0 || len(numbers) == 1 || strings.Trim(numbers[0], "0") != "" {
			all = append(all, strings.Join(numbers[:i+1], "."))
		}
	}
	return all
}

// trimZeros removes leading zeros from the numeric parts of a version: 18.06.0 becomes 18.6.0.
func trimZeros(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	parts := strings.Split(s, ".")
	for i, part := range parts {
		if digits.MatchString(part) {
			parts[i] = cmp.Or(strings.TrimLeft(part, "0"), "0")
		}
	}
	return sign + strings.Join(parts, ".")
}
