package settings

import (
	"fmt"
	"maps"
	"slices"

	"slipway/runner/spec"
)

const outputName = "PLUGIN_OUTPUT"

// readImageOutput reads what docker buildx --output takes. The image is pushed as tags and
// dry_run say, and push=false is a dry run.
// https://docs.docker.com/build/exporters/
func (p *Plugin) readImageOutput(value string, given map[string]string) error {
	entries, err := documents(outputName, value)
	if err != nil || len(entries) == 0 {
		return err
	}
	if len(entries) > 1 {
		return fmt.Errorf("%s has more than one output: give one, as type=image,push=true", outputName)
	}
	attrs := entries[0].fields
	switch kind := attrs["type"]; kind {
	case "image", "registry":
	case "cacheonly":
		p.DryRun, p.Origins[dryRunName] = true, outputName
	case spec.ArchiveOCI, spec.ArchiveDocker, spec.ArchiveTar:
		if attrs["dest"] == "" || attrs["dest"] == "-" {
			return fmt.Errorf("%s has type=%s without a file: give dest=path", outputName, kind)
		}
		p.Build.Archive = spec.Archive{Type: kind, Path: attrs["dest"]}
	default:
		return fmt.Errorf(
			"%s has type %q; what can be here is image, registry, cacheonly, and oci, docker or tar with dest=path",
			outputName,
			kind,
		)
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if err := p.readOutputAttr(name, attrs, given); err != nil {
			return err
		}
	}
	return nil
}

// readOutputAttr reads one attribute of several.
func (p *Plugin) readOutputAttr(name string, attrs, given map[string]string) (err error) {
	value := attrs[name]
	var on bool
	switch name {
	case "push", "oci-mediatypes", "force-compression", "rewrite-timestamp":
		if on, err = trueFalse(outputName+": "+name, value); err != nil {
			return err
		}
	}
	switch name {
	case "type":
	case "push":
		if !on {
			p.DryRun, p.Origins[dryRunName] = true, outputName
		}
	case "oci-mediatypes":
		p.Build.OCI = on
	case "force-compression":
		p.Build.ForceCompression = on
	case "rewrite-timestamp":
		if p.Build.RewriteTimestamp = on; on && p.BuildArgs[epochArg] == "" && given[epochArg] != "" {
			p.BuildArgs[epochArg] = given[epochArg]
		}
	case "compression", "compression-level":
		return p.readOutputCompression(attrs)
	case "dest":
		if p.Build.Archive.Type == "" {
			return fmt.Errorf(
				"%s has dest, which type=%s does not write: use type=oci, docker or tar",
				outputName,
				attrs["type"],
			)
		}
	case "name":
		return fmt.Errorf("%s has name: give the image's name in PLUGIN_REPO, and its tags in PLUGIN_TAGS", outputName)
	default:
		return fmt.Errorf("%s has %q, which is nothing that this step does: remove it", outputName, name)
	}
	return nil
}

// epochArg is the build argument by which images are made reproducible, in seconds since 1970.
// https://docs.docker.com/build/ci/github-actions/reproducible-builds/
const epochArg = "SOURCE_DATE_EPOCH"

func (p *Plugin) readOutputCompression(attrs map[string]string) error {
	if p.Origins["PLUGIN_COMPRESSION"] != Default {
		return fmt.Errorf("%s and PLUGIN_COMPRESSION both say how layers are compressed: remove one", outputName)
	}
	value := attrs["compression"]
	if value == "" {
		value = "gzip"
	}
	if level := attrs["compression-level"]; level != "" {
		value += ":" + level
	}
	return p.readCompression(outputName, value)
}
