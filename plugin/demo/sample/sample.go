// Package sample has the repository that the demo and the tests of engines build, and the base image
// of its Dockerfile. It needs no network.
package sample

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed repository
var repository embed.FS

// Files returns the files of the sample repository. Their base image is in a registry (host:port)
// that Seed has filled.
func Files(registry string) (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(repository, "repository", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := repository.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(content), "FROM REGISTRY/", "FROM "+registry+"/")
		files[strings.TrimPrefix(path, "repository/")] = text
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the sample repository: %w", err)
	}
	return files, nil
}

// Greeting returns the content of greeting.txt for a version. In the image, /app/source.txt has this
// content, and /app/greeting.txt has it in capitals.
func Greeting(version string) string { return "hello from " + version + "\n" }
