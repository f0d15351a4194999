// Package testfiles finds Docker Hub's test files. This version runs none of them, so whoever builds beside
// one must say so.
package testfiles

import (
	"fmt"
	"os"
	"strings"
)

// Find returns the names of the test files in a directory, sorted. The error of a directory that does not
// exist wraps fs.ErrNotExist.
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/automated-testing/; Docker Hub's builder also
// runs names with a dash.
func Find(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for test files: %w", err)
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && (strings.HasSuffix(name, ".test.yml") || strings.HasSuffix(name, "-test.yml")) {
			found = append(found, name)
		}
	}
	return found, nil
}
