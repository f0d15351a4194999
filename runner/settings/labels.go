package settings

import (
	"errors"
	"fmt"
	"strings"

	"slipway/runner/settings/table"
)

const labelSchemaName = "PLUGIN_LABEL_SCHEMA"

// Labels are the labels of the image that the settings give.
type Labels struct {
	Named  map[string]string // labels by their whole names
	Schema map[string]string // labels by their names without org.opencontainers.image.
	Link   string            // the repository's page; empty = the CI's
	Auto   bool              // label and annotate the image with facts of the CI
}

func labelTable() table.Table[stepReader] {
	setNamed := func(r *stepReader, name, text string) error { return addLabels(name, text, r.Labels.Named) }
	setAuto := table.AllOf(func(r *stepReader) *bool { return &r.Labels.Auto })
	return table.Table[stepReader]{
		{Name: "PLUGIN_LABEL", Help: "labels NAME=value of the image: a list", Set: setNamed},
		{Name: "PLUGIN_LABELS", Help: "the same as label", Set: setNamed},
		{Name: "PLUGIN_CUSTOM_LABELS", Help: "the same as label", Set: setNamed},
		{
			Name: labelSchemaName,
			Help: "labels name=value whose names begin with org.opencontainers.image., which is left out: a list; " +
				"not used when auto_label is false",
			Set: func(r *stepReader, name, text string) error { return addLabels(name, text, r.Labels.Schema) },
		},
		{
			Name: "PLUGIN_AUTO_LABEL", Default: "true",
			Help: "true: label and annotate the image with the CI's data: " +
				"created, revision, source, url, and version of a tag",
			Set: setAuto,
		},
		{
			Name: "PLUGIN_DEFAULT_LABELS", Default: "true", Set: setAuto,
			Help: "the same as auto_label; false in any of the three turns the labels off",
		},
		{Name: "PLUGIN_AUTO_LABELS", Default: "true", Help: "the same as auto_label", Set: setAuto},
		{
			Name: "PLUGIN_REPO_LINK", Unset: "the URL that the CI provides",
			Help: "URL of the repository's page, for the label url",
			Set:  table.Text(func(r *stepReader) *string { return &r.Labels.Link }),
		},
	}
}

// addLabels adds the labels of a list NAME=value, or of a JSON object. A NAME alone has an empty value, as
// in `docker build --label NAME`.
func addLabels(setting, text string, to map[string]string) error {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		all, err := table.ParseObject(setting, text)
		for name, value := range all {
			if !isLabelName(name) {
				err = errors.Join(err, fmt.Errorf("%s has %q, which is not a name of a label", setting, name))
			}
			to[name] = value
		}
		return err
	}
	entries, err := table.ParseList(setting, text)
	for i, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		if !isLabelName(name) {
			err = errors.Join(err, entryError(setting, i))
			continue
		}
		to[name] = value
	}
	return err
}

// isLabelName reports whether name can be that of a label and of an annotation.
func isLabelName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '=' || r >= 0x7f })
}

func (r *stepReader) noteLabels() {
	if len(r.Labels.Schema) > 0 && !r.Labels.Auto {
		r.warn("PLUGIN_LABEL_SCHEMA is not used: PLUGIN_AUTO_LABEL or PLUGIN_DEFAULT_LABELS is false")
	}
}
