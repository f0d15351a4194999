package settings

import (
	"fmt"
	"path/filepath"
	"strings"

	"slipway/config"
	"slipway/runner/registry"
)

const sourceName = "PLUGIN_SOURCE_IMAGE"

// Copy is what a step pushes that builds nothing; one of Reference and File is set then.
type Copy struct {
	On        bool
	Reference string // registry/name:tag or registry/name@sha256:…
	File      string // absolute, or relative to the workspace
}

// Source is where the image comes from, for people.
func (c Copy) Source() string { return c.Reference + c.File }

// readCopy comes after the tags and the switches: the image at the first tag is the default
// source, and a dry run that only pushes would do nothing.
func (p *Plugin) readCopy(raw config.PluginCopy) (err error) {
	p.Copy.On, err = trueFalse("PLUGIN_PUSH_ONLY", raw.PushOnly)
	switch {
	case err != nil:
		return err
	case !p.Copy.On && raw.SourceImage != "":
		p.warn("%s is not used: PLUGIN_PUSH_ONLY is not true", sourceName)
		return nil
	case !p.Copy.On:
		return nil
	case p.DryRun && p.Origins[dryRunName] == outputName:
		return fmt.Errorf(
			"PLUGIN_PUSH_ONLY is true, and %s keeps the image from being pushed: give one of them",
			outputName,
		)
	case p.DryRun:
		return fmt.Errorf(
			"PLUGIN_PUSH_ONLY and %s are both true: one pushes and builds nothing, the other builds and pushes nothing; give one of them",
			p.Origins[dryRunName],
		)
	case p.Build.Archive.Type != "":
		return fmt.Errorf(
			"PLUGIN_PUSH_ONLY is true, and %s asks for a file of the image, which a build alone writes: give one of them",
			outputName,
		)
	}
	if len(p.Tags) == 0 && p.Skip == "" {
		p.Skip = "PLUGIN_PUSH_ONLY is true, and there is no tag to push"
	}
	switch source := raw.SourceImage; {
	case source == "" && len(p.Tags) > 0:
		p.Copy.Reference = p.Image() + ":" + p.Tags[0]
	case source == "":
	case strings.HasPrefix(source, "/") || strings.HasPrefix(source, "./"):
		p.Copy.File = filepath.Clean(source)
	default:
		if p.Copy.Reference, err = registry.ParseReference(source); err != nil {
			return fmt.Errorf("%s: %w; a file's path begins with / or ./", sourceName, err)
		}
	}
	return nil
}
