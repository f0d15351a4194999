package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"slipway/config/grammar"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// The settings of the image's form.
const (
	outputName      = "PLUGIN_OUTPUT"
	compressionName = "PLUGIN_COMPRESSION"
	platformName    = "PLUGIN_PLATFORM"
	platformsName   = "PLUGIN_PLATFORMS"
)

// outputTable declares the form of the image, and outputs in addition to the push.
func outputTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: platformName, Aliases: []string{"PLUGIN_CUSTOM_PLATFORM"}, Unset: "the builder's own",
			Help: "platform to build for, for example linux/amd64",
			Set:  (*stepReader).addPlatforms,
		},
		{
			Name: platformsName,
			Help: "several platforms, for one multi-platform image: a list",
			Set:  (*stepReader).addPlatforms,
		},
		{
			Name: compressionName, Default: "gzip:1",
			Help: "compression of layers: gzip, zstd (faster and smaller; needs a registry and readers with support) " +
				"or none, and :LEVEL",
			Set: (*stepReader).setCompression,
		},
		{
			Name: "PLUGIN_PROVENANCE", Default: "false",
			Help: "true or mode=min: attest how the image was built; mode=max: with build arguments and sources",
			Set: func(r *stepReader, name, text string) (err error) {
				r.Build.Provenance, err = parseAttestation(name, text, "mode=min")
				return err
			},
		},
		{
			Name: "PLUGIN_SBOM", Default: "false",
			Help: "true, or generator=IMAGE: attest the content of the image, with that generator " +
				"(default: Docker's, from Docker Hub)",
			Set: func(r *stepReader, name, text string) (err error) {
				r.Build.SBOM, err = parseAttestation(name, text, spec.SBOMDefault)
				return err
			},
		},
		{
			Name: outputName,
			Help: "outputs in the form of docker buildx --output: type=image with push, compression, compression-level, " +
				"force-compression, oci-mediatypes, rewrite-timestamp; or type=oci, docker or tar with dest=path, " +
				"a file in addition to the push",
			Set: table.Text(func(r *stepReader) *string { return &r.output }),
		},
	}
}

// addPlatforms adds the platforms of a list, each once.
func (r *stepReader) addPlatforms(name, text string) error {
	entries, err := table.ParseList(name, text)
	if err != nil {
		return err
	}
	for _, platform := range entries {
		if !grammar.IsPlatform(platform) {
			return fmt.Errorf(
				"%s has %q, which is not a platform: set os/arch, for example linux/amd64 or linux/arm/v7",
				name,
				platform,
			)
		}
		if !slices.Contains(r.Platforms, platform) {
			r.Platforms = append(r.Platforms, platform)
		}
	}
	return nil
}

// setCompression reads TYPE or TYPE:LEVEL. gzip:1 is the builder's default, so it is not stored.
func (r *stepReader) setCompression(name, text string) error {
	kind, level, hasLevel := strings.Cut(strings.ToLower(text), ":")
	least, most := 0, 9
	switch kind {
	case "gzip":
	case "zstd":
		least, most = 1, 22
	case "none", "uncompressed":
		kind, least, most = "uncompressed", 0, 0
	default:
		return fmt.Errorf("%s: compression is %q: use gzip, zstd or none", name, text)
	}
	if n, err := strconv.Atoi(level); hasLevel && (err != nil || n < least || n > most) {
		return fmt.Errorf("%s: compression is %q: levels of %s are %d to %d", name, text, kind, least, most)
	}
	if text != "gzip:1" {
		r.Build.Compression = spec.Compression{Type: kind, Level: level}
	}
	return nil
}

// parseAttestation reads true, false, or attributes, and returns the attributes. Those of true are
// enabled. https://docs.docker.com/build/metadata/attestations/
func parseAttestation(name, text, enabled string) (string, error) {
	if strings.Contains(text, "=") {
		return text, nil
	}
	on, err := table.ParseBool(name, text)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w, or attributes as %s", err, enabled)
	case on:
		return enabled, nil
	}
	return "", nil
}

// checkAttestations rejects mode=max if a proxy holds a password. This attestation has the build
// arguments, and a client that may pull the image can read it.
func (r *stepReader) checkAttestations() error {
	if strings.Contains(r.Build.Provenance, "mode=max") && len(r.proxySecrets()) > 0 {
		return errors.New("PLUGIN_PROVENANCE has mode=max, which writes build arguments into the image, " +
			"and a proxy of the step holds a password: use mode=min")
	}
	return nil
}

// applyOutput reads the value of docker buildx --output. Tags and dry_run decide about the push, and
// push=false is a dry run. https://docs.docker.com/build/exporters/
func (r *stepReader) applyOutput() error {
	if r.Origins[platformsName] == Default {
		r.Origins[platformsName] = r.Origins[platformName]
	}
	entries, err := table.ParseCSVEntries(outputName, r.output)
	if err != nil || len(entries) == 0 {
		return err
	}
	if len(entries) > 1 {
		return fmt.Errorf("%s has more than one output: use one, for example type=image,push=true", outputName)
	}
	attrs := entries[0]
	switch kind := attrs["type"]; kind {
	case "image", "registry":
	case "cacheonly":
		if len(attrs) > 1 {
			return fmt.Errorf("%s has type=cacheonly, which makes no image, and attributes of one: remove one of them",
				outputName)
		}
		r.setDryRun(outputName)
	case spec.ArchiveOCI, spec.ArchiveDocker, spec.ArchiveTar:
		if attrs["dest"] == "" || attrs["dest"] == "-" {
			return fmt.Errorf("%s has type=%s without a file: set dest=path", outputName, kind)
		}
		r.Build.Archive = spec.Archive{Type: kind, Path: attrs["dest"]}
	default:
		return fmt.Errorf("%s has type %q; "+
			"use image, registry, cacheonly, or oci, docker or tar with dest=path", outputName, kind)
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if err := r.applyOutputAttr(name, attrs); err != nil {
			return err
		}
	}
	return nil
}

func (r *stepReader) setDryRun(origin string) {
	r.DryRun = true
	r.Origins[dryRunName] = origin
}

// applyOutputAttr applies the attribute with this name.
func (r *stepReader) applyOutputAttr(name string, attrs map[string]string) (err error) {
	var on bool
	switch name {
	case "push", "oci-mediatypes", "force-compression", "rewrite-timestamp":
		if on, err = table.ParseBool(outputName+": "+name, attrs[name]); err != nil {
			return err
		}
	}
	switch name {
	case "type":
	case "push":
		if !on {
			r.setDryRun(outputName)
		}
	case "oci-mediatypes":
		r.Build.OCI = on
	case "force-compression":
		r.Build.ForceCompression = on
	case "rewrite-timestamp":
		r.Build.RewriteTimestamp = on
		if on && r.BuildArgs[epochArg] == "" && r.given[epochArg] != "" {
			r.BuildArgs[epochArg] = r.given[epochArg]
		}
	case "compression", "compression-level":
		return r.applyOutputCompression(attrs)
	case "dest":
		if r.Build.Archive.Type == "" {
			return fmt.Errorf("%s has dest, which type=%s does not write: use type=oci, docker or tar",
				outputName, attrs["type"])
		}
	case "name":
		return fmt.Errorf(
			"%s has name, which this step does not support: set the image's name in PLUGIN_REPO, and its tags in PLUGIN_TAGS",
			outputName,
		)
	default:
		return fmt.Errorf("%s has %q, which this step does not support: remove it", outputName, name)
	}
	return nil
}

// epochArg is the build argument that makes images reproducible, in seconds since 1970.
// https://docs.docker.com/build/ci/github-actions/reproducible-builds/
const epochArg = "SOURCE_DATE_EPOCH"

func (r *stepReader) applyOutputCompression(attrs map[string]string) error {
	if r.Origins[compressionName] != Default {
		return fmt.Errorf("%s and PLUGIN_COMPRESSION both set the compression of layers: remove one", outputName)
	}
	text := attrs["compression"]
	if text == "" {
		text = "gzip"
	}
	if level := attrs["compression-level"]; level != "" {
		text += ":" + level
	}
	return r.setCompression(outputName, text)
}
