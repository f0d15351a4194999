// Package sample is the repository that the demo and the engines' tests build, and the
// base image that its Dockerfile starts from: nothing of it comes from outside this machine.
package sample

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed repository
var repository embed.FS

// Files returns the sample repository's files, their base image taken from a registry
// (host:port) that Seed filled.
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
		files[strings.TrimPrefix(path, "repository/")] = strings.ReplaceAll(
			string(content),
			"FROM REGISTRY/",
			"FROM "+registry+"/",
		)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the sample repository: %w", err)
	}
	return files, nil
}

// Greeting is greeting.txt for a version; the image's /app/source.txt must equal it, and its
// /app/greeting.txt be the same in capitals.
func Greeting(version string) string { return "hello from " + version + "\n" }
