package tags

import (
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"

	"slipway/runner/ci"
)

// A version is the name of a Git tag, read as a semantic version that may be short (1.2), be
// padded (18.06.0), and begin with v. What is none has no numbers.
type version struct {
	whole      string   // as Git has it
	name       string   // without the v
	numbers    []string // as written
	prerelease string   // with its -
	metadata   string   // with its +
}

var (
	digits = regexp.MustCompile(`^[0-9]+$`)
	date   = regexp.MustCompile(`^([0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$`)
	year   = regexp.MustCompile(`^[1-9][0-9]{3}$`)
)

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
	if date.MatchString(v.name) || !semver.IsValid("v1.0.0"+unpadded(prerelease)+metadata) {
		return v
	}
	v.numbers, v.prerelease, v.metadata = numbers, prerelease, metadata
	return v
}

// exact reports whether the version names itself alone, and no newest of a line.
func (v version) exact() bool { return v.prerelease != "" || v.metadata != "" }

// tags are what a mode makes of the version.
func (v version) tags(mode Mode) ([]string, error) {
	switch {
	case date.MatchString(v.name) && mode != Docker:
		return []string{v.name}, nil
	case len(v.numbers) == 0 || len(v.numbers) > 3:
		return nil, v.unfit("1.2.3")
	case mode == Docker && len(v.numbers) < 3:
		return nil, v.unfit("1.2.3 in full (auto_tag_mode docker)")
	}
	numbers := v.numbers
	if mode == Buildx {
		numbers = append(append([]string{}, numbers...), "0", "0")[:3]
	}
	if mode == Buildx || mode == Docker && v.exact() {
		numbers = strings.Split(unpadded(strings.Join(numbers, ".")), ".")
	}
	if v.exact() {
		return []string{strings.Join(numbers, ".") + v.prerelease + v.metadata}, nil
	}
	if mode == Buildx && year.MatchString(numbers[0]) && numbers[1] == "0" && numbers[2] == "0" {
		return numbers[:1], nil // 2024.0.0 is a date
	}
	return lines(numbers), nil
}

func (v version) unfit(want string) error {
	return fmt.Errorf("the Git tag %q is no version like v%s, so that no tags can be made of it: name them yourself (setting tags, and auto_tag off), or run the step for versions alone", v.whole, want)
}

// lines are 1, 1.2 and 1.2.3 of 1.2.3. Versions below 1 promise nothing to each other: no 0.
func lines(numbers []string) []string {
	var all []string
	for i := range numbers {
		if i > 0 || len(numbers) == 1 || strings.Trim(numbers[0], "0") != "" {
			all = append(all, strings.Join(numbers[:i+1], "."))
		}
	}
	return all
}

// unpadded takes the zeros from before the numbers among the parts of a version.
func unpadded(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	parts := strings.Split(s, ".")
	for i, part := range parts {
		if digits.MatchString(part) {
			if parts[i] = strings.TrimLeft(part, "0"); parts[i] == "" {
				parts[i] = "0"
			}
		}
	}
	return sign + strings.Join(parts, ".")
}
