// Package resultfiles writes the result of a step without a gateway for other programs. The formats
// are those of the plugins that Slipway replaces, and of Drone's cards. Only Write and Check do I/O.
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

	"slipway/config/grammar"
)

// A Result is the result of a step.
type Result struct {
	Images       []string // without a tag, for example docker.io/acme/app
	Names        []string // pushed names, each with a tag, for example docker.io/acme/app:1.2
	Digest       string   // for example sha256:4f1d…
	Size         int64    // compressed size in bytes; 0 = unknown
	RegistryType string   // for example Docker or ECR
	RegistryURL  string
	Time         time.Time // time of the push
}

// Artifact returns the artifact file of plugins/docker: each pushed name with the digest.
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
	file.Kind = "docker/v1"
	file.Data.RegistryType = r.RegistryType
	file.Data.RegistryURL = r.RegistryURL
	file.Data.Images = []image{}
	for _, name := range r.Names {
		file.Data.Images = append(file.Data.Images, image{name, r.Digest})
	}
	return encode(file)
}

// Metadata returns the metadata file of docker buildx.
// Source: https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file.
func Metadata(r Result) []byte {
	return encode(struct {
		Digest string `json:"containerimage.digest"`
		Names  string `json:"image.name,omitempty"`
	}{r.Digest, strings.Join(r.Names, ",")})
}

// Digest returns the digest without a newline at the end, for `$(cat file)` and for programs that
// read kaniko's digest file.
func Digest(r Result) []byte { return []byte(r.Digest) }

// NamesWithDigest returns a line name@sha256:… for each pushed name, without its tag.
// Source: https://github.com/GoogleContainerTools/kaniko#flag---image-name-with-digest-file
func NamesWithDigest(r Result) []byte {
	var lines strings.Builder
	for _, name := range r.Names {
		image, _, _ := grammar.SplitReference(name)
		fmt.Fprintf(&lines, "%s@%s\n", image, r.Digest)
	}
	return []byte(lines.String())
}

// TagsWithDigest returns a line name:tag@sha256:… for each pushed name.
// Source: https://github.com/GoogleContainerTools/kaniko#flag---image-name-tag-with-digest-file
func TagsWithDigest(r Result) []byte {
	var lines strings.Builder
	for _, name := range r.Names {
		fmt.Fprintf(&lines, "%s@%s\n", name, r.Digest)
	}
	return []byte(lines.String())
}

// Card returns a Drone card for the template of plugins/docker.
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
	data.ID = r.Digest
	data.RepoTags = append([]string{}, r.Names...) // in JSON an empty list, never null
	data.RepoDigests = []string{}
	data.ParsedRepoTags = []tag{}
	for _, image := range r.Images {
		if r.Digest != "" { // a dry run makes no image
			data.RepoDigests = append(data.RepoDigests, image+"@"+r.Digest)
		}
		if name, hub := strings.CutPrefix(image, "docker.io/"); hub && data.URL == "" {
			data.URL = "https://hub.docker.com/r/" + name
		}
	}
	for _, name := range r.Names {
		data.ParsedRepoTags = append(data.ParsedRepoTags, tag{name})
	}
	data.Size, data.VirtualSize = r.Size, r.Size
	data.SizeString = "unknown"
	if r.Size > 0 {
		data.SizeString = units.HumanSize(float64(r.Size))
	}
	data.VirtualSizeString = data.SizeString
	data.Time = r.Time.UTC().Format(time.RFC3339)
	return encode(struct {
		Schema string `json:"schema"`
		Data   any    `json:"data"`
	}{"https://drone-plugins.github.io/drone-docker/card.json", data})
}

// Escaped returns a card as an escape sequence for the step's output. Drone's runner removes the
// sequence from the log and shows the card.
func Escaped(card []byte) string {
	return "\x1b]1338;" + base64.StdEncoding.EncodeToString(card) + "\x1b]0m\n"
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // impossible: the structs contain only strings, numbers and lists of them
		return nil
	}
	return text
}

// Check creates the directory of a file, and returns an error if Write could not write the file.
func Check(path string) error {
	probe, err := createTemp(path)
	if err != nil {
		return err
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// Write creates or replaces a file atomically, with mode 0644, so readers never see a part of the
// content. It replaces a symbolic link instead of following it.
func Write(path string, content []byte) error {
	file, err := createTemp(path)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(file.Name(), 0o644) //nolint:gosec // other steps read the file as other users
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

// createTemp creates the directory of path, and a temporary file in it. A step that is killed at that moment leaves the
// file. No later step removes it: the directory belongs to the pipeline, and steps of other pipelines may be writing
// there.
func createTemp(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // other steps read the directory as other users
		return nil, err
	}
	return os.CreateTemp(dir, ".slipway-*")
}
