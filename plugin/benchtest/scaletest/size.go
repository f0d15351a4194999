package main

import (
	"fmt"
	"strconv"
	"strings"
)

// A size is the size of an installation.
type size struct{ automatedBuilds, builds, deliveries int }

func (s size) String() string {
	return fmt.Sprintf("%d automated builds, %d builds, %d deliveries", s.automatedBuilds, s.builds, s.deliveries)
}

// parseSize parses three numbers that are joined by commas. There are two or more deliveries for each build, and ten
// or more builds for each automated build.
func parseSize(text string) (s size, err error) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return s, fmt.Errorf("%q is not three numbers", text)
	}
	for i, n := range []*int{&s.automatedBuilds, &s.builds, &s.deliveries} {
		if *n, err = strconv.Atoi(fields[i]); err != nil || *n < 1 {
			return s, fmt.Errorf("%q is no positive number", fields[i])
		}
	}
	if s.builds < 10*s.automatedBuilds || s.deliveries < 2*s.builds {
		return s, fmt.Errorf(
			"%q has fewer than 10 builds for each automated build, or 2 deliveries for each build",
			text,
		)
	}
	return s, nil
}
