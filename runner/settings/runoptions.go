package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/go-units"

	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// The settings of named contexts and of the environment of RUN.
const (
	contextsName = "PLUGIN_BUILD_CONTEXTS"
	allowName    = "PLUGIN_ALLOW"
	callName     = "PLUGIN_CALL"
)

// runTable declares named contexts and the environment of RUN. The names are those of docker build.
func runTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: contextsName, Aliases: []string{"PLUGIN_BUILD_CONTEXT"},
			Help: "build contexts for FROM name and COPY --from=name: a list of name=directory, " +
				"name=docker-image://IMAGE or name=URL, or a JSON object",
			Set: (*stepReader).addContexts,
		},
		{
			Name: allowName,
			Help: "rights of RUN on a builder that grants them: a list of network.host, security.insecure, " +
				"device, device=NAME; needs builder",
			Set: (*stepReader).setAllow,
		},
		{
			Name:    "PLUGIN_ULIMIT",
			Aliases: []string{"PLUGIN_ULIMITS"},
			Help:    "limits of RUN's processes: a list in the form of docker build --ulimit, for example nofile=1024:4096",
			Set:     (*stepReader).setUlimits,
		},
		{
			Name: "PLUGIN_SHM_SIZE", Unset: "the builder's, 64m",
			Help: "size of /dev/shm of RUN, for example 256m",
			Set:  (*stepReader).setShmSize,
		},
		{
			Name: callName, Default: callBuild,
			Help: "build, or check: check the Dockerfile in the form of docker build --check, and build nothing",
			Set:  (*stepReader).setCall,
		},
	}
}

// The values of the setting call.
const (
	callBuild = "build"
	callCheck = "check"
)

// setCall reads the call of the Dockerfile frontend. A check pushes nothing, so it is a dry run.
func (r *stepReader) setCall(name, text string) error {
	switch text {
	case callBuild:
		return nil
	case callCheck, "lint":
		r.Check = true
		return nil
	}
	return fmt.Errorf("%s is %q: use build or check", name, text)
}

// applyCheck makes a check a dry run.
func (r *stepReader) applyCheck() error {
	switch {
	case !r.Check:
		return nil
	case r.Copy.On:
		return fmt.Errorf("PLUGIN_PUSH_ONLY is true, and %s is check: remove one of them", callName)
	case r.Build.Archive.Type != "":
		return r.checkConflict(r.Origins[outputName])
	case r.Files.Digest != "":
		return r.checkConflict("PLUGIN_DIGEST_FILE")
	case r.Files.Metadata != "":
		return r.checkConflict("PLUGIN_METADATA_FILE")
	}
	r.setDryRun(callName)
	return nil
}

// checkConflict returns the error of a check and a setting that needs an image.
func (r *stepReader) checkConflict(name string) error {
	return fmt.Errorf("%s is check, and %s asks for a file of the image, which only a build writes: "+
		"remove one of them", callName, name)
}

// addContexts reads named contexts as docker build --build-context takes them.
func (r *stepReader) addContexts(name, text string) error {
	pairs := map[string]string{}
	var err error
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		pairs, err = table.ParseObject(name, text)
	} else {
		var entries []string
		entries, err = table.ParseList(name, text)
		for i, entry := range entries {
			key, value, found := strings.Cut(entry, "=")
			if !found || key == "" || value == "" {
				return fmt.Errorf(
					"%s: entry %d is not name=directory, name=docker-image://IMAGE or name=URL",
					name,
					i+1,
				)
			}
			if _, twice := pairs[key]; twice {
				return fmt.Errorf("%s: the context %s is set twice", name, key)
			}
			pairs[key] = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		one, contextErr := parseContext(name, key, pairs[key])
		err = errors.Join(err, contextErr)
		r.Build.Contexts = append(r.Build.Contexts, one)
	}
	return err
}

// parseContext reads a named context. Its name has the form in which the Dockerfile frontend looks it up: a
// name of an image without docker.io/library and :latest.
// Source: https://github.com/moby/buildkit/blob/v0.34.2/frontend/dockerui/config.go (NamedContext)
func parseContext(setting, name, value string) (spec.NamedContext, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return spec.NamedContext{}, fmt.Errorf("%s: %q is not a name of a context: use small letters", setting, name)
	}
	c := spec.NamedContext{Name: strings.TrimSuffix(reference.FamiliarString(named), ":latest")}
	scheme, _, isAddress := strings.Cut(value, "://")
	switch {
	case !isAddress && strings.HasPrefix(value, "git@"):
		c.Source = value
	case !isAddress:
		c.Dir = value
	case slices.Contains([]string{"docker-image", "http", "https", "git", "ssh"}, scheme):
		c.Source = value
	default:
		return c, fmt.Errorf("%s: the context %s has %s://, which this step does not support: "+
			"use a directory, docker-image:// or the address of a Git repository", setting, name, scheme)
	}
	return c, nil
}

func (r *stepReader) setAllow(name, text string) error {
	entries, err := table.ParseList(name, text)
	for _, entry := range entries {
		right, device, isDevice := strings.Cut(entry, "=")
		known := slices.Contains([]string{spec.AllowInsecure, spec.AllowHostNetwork, spec.AllowDevice}, right)
		if !known || isDevice && (right != spec.AllowDevice || device == "") {
			return fmt.Errorf("%s has %q: use %s, %s, %s or %s=NAME", name, entry,
				spec.AllowHostNetwork, spec.AllowInsecure, spec.AllowDevice, spec.AllowDevice)
		}
	}
	r.Build.Allow = entries
	return err
}

// checkAllow rejects rights that the step's own builder never grants. Its RUN steps are isolated from the
// machine, and each of these rights ends the isolation.
func (r *stepReader) checkAllow() error {
	if len(r.Build.Allow) == 0 || r.Builder != "" {
		return nil
	}
	return fmt.Errorf("%s has %s, and the step's own builder grants no rights, because its RUN steps are isolated: "+
		"remove it, or set PLUGIN_BUILDER to a BuildKit that grants them (buildkitd --allow-insecure-entitlement)",
		allowName, strings.Join(r.Build.Allow, ", "))
}

func (r *stepReader) setUlimits(name, text string) error {
	entries, err := table.ParseList(name, text)
	for _, entry := range entries {
		limit, parseErr := units.ParseUlimit(entry)
		if parseErr != nil {
			return fmt.Errorf("%s has %q: set name=soft:hard, for example nofile=1024:4096", name, entry)
		}
		r.Build.Ulimits = append(r.Build.Ulimits, limit.String())
	}
	return err
}

// setShmSize reads a size as docker build does: 64m has 64 * 1024 * 1024 bytes.
func (r *stepReader) setShmSize(name, text string) error {
	bytes, err := units.RAMInBytes(text)
	if err != nil || bytes <= 0 {
		return fmt.Errorf("%s is %q: set a size, for example 256m", name, text)
	}
	r.Build.ShmSize = bytes
	return nil
}
