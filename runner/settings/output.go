package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"slipway/config"
	"slipway/runner/spec"
)

// Labels are what the step's settings say of the image's labels.
type Labels struct {
	Named  map[string]string // as they are
	Schema map[string]string // below org.opencontainers.image.
	Link   string            // the repository's page; empty = the CI's
	Auto   bool              // label and annotate what the CI says
}

func (p *Plugin) readLabels(raw config.PluginBuild) error {
	auto, autoErr := trueFalse("PLUGIN_AUTO_LABEL", raw.AutoLabel)
	byDefault, defaultErr := trueFalse("PLUGIN_DEFAULT_LABELS", raw.DefaultLabels)
	several, severalErr := trueFalse("PLUGIN_AUTO_LABELS", raw.AutoLabels)
	p.Labels = Labels{
		Named:  map[string]string{},
		Schema: map[string]string{},
		Link:   raw.RepoLink,
		Auto:   auto && byDefault && several,
	}
	err := errors.Join(autoErr, defaultErr, severalErr)
	for _, row := range []struct {
		setting, value string
		to             map[string]string
	}{
		{"PLUGIN_LABEL", raw.Label, p.Labels.Named},
		{"PLUGIN_LABELS", raw.Labels, p.Labels.Named},
		{"PLUGIN_CUSTOM_LABELS", raw.CustomLabels, p.Labels.Named},
		{"PLUGIN_LABEL_SCHEMA", raw.LabelSchema, p.Labels.Schema},
	} {
		err = errors.Join(err, readLabelList(row.setting, row.value, row.to))
	}
	if len(p.Labels.Schema) > 0 && !p.Labels.Auto {
		p.warn("PLUGIN_LABEL_SCHEMA is not used: PLUGIN_AUTO_LABEL or PLUGIN_DEFAULT_LABELS is false")
	}
	return err
}

func readLabelList(setting, value string, to map[string]string) error {
	if strings.HasPrefix(strings.TrimSpace(value), "{") {
		all, err := object(setting, value)
		for name, value := range all {
			if !legalLabel(name) {
				err = errors.Join(err, fmt.Errorf("%s has %q, which is no name of a label", setting, name))
			}
			to[name] = value
		}
		return err
	}
	entries, err := list(setting, value)
	for i, entry := range entries {
		name, value, found := strings.Cut(entry, "=")
		if !found || !legalLabel(name) {
			err = errors.Join(
				err,
				fmt.Errorf(
					"%s: entry %d is not NAME=value (where a value holds a comma, give a JSON list)",
					setting,
					i+1,
				),
			)
			continue
		}
		to[name] = value
	}
	return err
}

// legalLabel has what may name a label and an annotation.
func legalLabel(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '=' || r >= 0x7f })
}

// readOutput reads what the image is to be like.
func (p *Plugin) readOutput(raw config.PluginBuild) error {
	return errors.Join(
		p.readPlatforms(raw),
		p.readCompression("PLUGIN_COMPRESSION", raw.Compression),
		p.readAttestations(raw),
	)
}

func (p *Plugin) readPlatforms(raw config.PluginBuild) error {
	for _, row := range [][2]string{{"PLUGIN_PLATFORM", raw.Platform}, {"PLUGIN_PLATFORMS", raw.Platforms}} {
		entries, err := list(row[0], row[1])
		if err != nil {
			return err
		}
		for _, platform := range entries {
			if !spec.LegalPlatform(platform) {
				return fmt.Errorf(
					"%s has %q, which is no platform: give it as linux/amd64 or linux/arm/v7",
					row[0],
					platform,
				)
			}
			if !slices.Contains(p.Platforms, platform) {
				p.Platforms = append(p.Platforms, platform)
			}
		}
	}
	if p.Origins["PLUGIN_PLATFORMS"] == Default {
		p.Origins["PLUGIN_PLATFORMS"] = p.Origins["PLUGIN_PLATFORM"]
	}
	return nil
}

func (p *Plugin) readCompression(setting, value string) error {
	kind, level, leveled := strings.Cut(strings.ToLower(value), ":")
	least, most := 0, 9
	switch kind {
	case "gzip":
	case "zstd":
		least, most = 1, 22
	case "none", "uncompressed":
		kind, least, most = "uncompressed", 0, 0
	default:
		return fmt.Errorf("%s: compression is %q: use gzip, zstd or none", setting, value)
	}
	if n, err := strconv.Atoi(level); leveled && (err != nil || n < least || n > most) {
		return fmt.Errorf("%s: compression is %q: levels of %s are %d to %d", setting, value, kind, least, most)
	}
	if value != "gzip:1" {
		p.Build.Compression = spec.Compression{Type: kind, Level: level}
	}
	return nil
}

// readAttestations refuses to attest a proxy's password: the build's arguments are in the
// larger attestation, which whoever pulls the image can read.
func (p *Plugin) readAttestations(raw config.PluginBuild) error {
	var err [2]error
	p.Build.Provenance, err[0] = attestation("PLUGIN_PROVENANCE", raw.Provenance, "mode=min")
	p.Build.SBOM, err[1] = attestation("PLUGIN_SBOM", raw.SBOM, spec.SBOMDefault)
	if strings.Contains(p.Build.Provenance, "mode=max") && len(p.proxySecrets()) > 0 {
		return errors.New(
			"PLUGIN_PROVENANCE has mode=max, which writes build arguments into the image, and a proxy of the step holds a password: use mode=min",
		)
	}
	return errors.Join(err[:]...)
}

// attestation is on, off, or attributes.
// https://docs.docker.com/build/metadata/attestations/
func attestation(setting, value, otherwise string) (string, error) {
	if strings.Contains(value, "=") {
		return value, nil
	}
	on, err := trueFalse(setting, value)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w, or attributes as %s", err, otherwise)
	case on:
		return otherwise, nil
	}
	return "", nil
}
