// Package resultfiles tells programs what a step without a gateway made: in the formats of the
// plugins that it takes the place of, and of Drone's cards. It is pure but for Write and Check.
package resultfiles

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// A Result is what a step made.
type Result struct {
	Images       []string // without a tag
	Names        []string // of them, with a tag each, that were pushed
	Digest       string
	Size         int64 // bytes, compressed
	RegistryType string
	RegistryURL  string
	Time         time.Time // of the push
}

// Artifact is the artifact file of plugins/docker: each tag that was pushed, with the digest.
// Source: https://github.com/drone/drone-plugin-lib (docker/v1).
func Artifact(r Result) []byte {
	type image struct {
		Image  string `json:"image"`
		Digest string `json:"digest"`
	}
	var file struct {
		Kind string `json:"kind"`
		Data struct {
			RegistryType string  `json:"registryType"`
			RegistryURL  string  `json:"registryUrl"`
			Images       []image `json:"images"`
		} `json:"data"`
	}
	file.Kind, file.Data.RegistryType, file.Data.RegistryURL = "docker/v1", r.RegistryType, r.RegistryURL
	file.Data.Images = []image{}
	for _, name := range r.Names {
		file.Data.Images = append(file.Data.Images, image{name, r.Digest})
	}
	return encode(file)
}

// Metadata is the metadata file of docker buildx.
// Source: https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file.
func Metadata(r Result) []byte {
	return encode(struct {
		Digest string `json:"containerimage.digest"`
		Names  string `json:"image.name,omitempty"`
	}{r.Digest, strings.Join(r.Names, ",")})
}

// Digest is the digest alone, without a line's end: `$(cat file)` and kaniko's readers take it.
func Digest(r Result) []byte { return []byte(r.Digest) }

// Card is a Drone card in the form of plugins/docker, whose template shows it.
// Source: https://docs.drone.io/plugins/adaptive_cards/.
func Card(r Result) []byte {
	type tag struct{ Tag string }
	var data struct {
		ID                string `json:"Id"`
		RepoTags          []string
		ParsedRepoTags    []tag
		RepoDigests       []string
		Size              int64
		VirtualSize       int64
		SizeString        string
		VirtualSizeString string
		Time              string
		URL               string
	}
	data.ID, data.RepoTags, data.RepoDigests, data.ParsedRepoTags = r.Digest, append([]string{}, r.Names...), []string{}, []tag{}
	for _, image := range r.Images {
		data.RepoDigests = append(data.RepoDigests, image+"@"+r.Digest)
		if name, hub := strings.CutPrefix(image, "docker.io/"); hub && data.URL == "" {
			data.URL = "https://hub.docker.com/r/" + name
		}
	}
	for _, name := range r.Names {
		data.ParsedRepoTags = append(data.ParsedRepoTags, tag{name})
	}
	data.Size, data.VirtualSize = r.Size, r.Size
	if data.SizeString = "unknown"; r.Size > 0 {
		data.SizeString = units.HumanSize(float64(r.Size))
	}
	data.VirtualSizeString, data.Time = data.SizeString, r.Time.UTC().Format(time.RFC3339)
	return encode(struct {
		Schema string `json:"schema"`
		Data   any    `json:"data"`
	}{"https://drone-plugins.github.io/drone-docker/card.json", data})
}

// Escaped is a card in a step's output: Drone's runner takes it out of the log.
func Escaped(card []byte) string {
	return "\x1b]1338;" + base64.StdEncoding.EncodeToString(card) + "\x1b]0m\n"
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // structs of strings and numbers alone
		return nil
	}
	return text
}

// Check finds out whether Write could write a file, and makes its directory.
func Check(path string) error {
	probe, err := begin(path)
	if err != nil {
		return err
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// Write makes or replaces a file as a whole: who reads it never sees half of it, and a link of
// that name is replaced and not followed.
func Write(path string, content []byte) error {
	file, err := begin(path)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(file.Name(), 0o644) //nolint:gosec // other steps read it, as other users
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func begin(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // other steps read in it, as other users
		return nil, err
	}
	return os.CreateTemp(dir, ".slipway-*")
}
