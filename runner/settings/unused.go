package settings

import (
	"slices"
	"strings"

	"slipway/runner/settings/table"
)

// noteUnused names the settings of the step that other settings leave without effect. A variable of the
// environment that is no setting of the step, such as SLIPWAY_BUILDER_STATE, is not named: it is for all steps.
func (r *stepReader) noteUnused() {
	if r.Copy.On {
		r.noteSet("PLUGIN_PUSH_ONLY is true, so nothing is built", slices.Concat(
			withoutEnvFile(
				sourceTable(),
			),
			buildTable(),
			runTable(),
			cacheTable(),
			labelTable(),
			outputTable(),
			buildkitTable(),
			table.Within(localBuilderTable(), func(r *stepReader) *localBuilderValues { return &r.local }),
			table.Within(stateTable(), func(r *stepReader) *State { return &r.State }),
			kanikoBuildTable(),
		))
	}
	if r.Builder != "" {
		r.noteSet("PLUGIN_BUILDER names a builder, which keeps its own cache",
			table.Within(stateTable(), func(r *stepReader) *State { return &r.State }))
	}
	if r.Builder == "" && r.Origins[builderTLSName] == builderTLSName {
		r.warn("%s is not used: PLUGIN_BUILDER is not set", builderTLSName)
	}
	if !r.Labels.Auto && r.Labels.Link != "" {
		r.warn("PLUGIN_REPO_LINK is not used: PLUGIN_AUTO_LABEL or PLUGIN_DEFAULT_LABELS is false")
	}
}

// withoutEnvFile returns a table without the setting env_file, which is for every step.
func withoutEnvFile(rows table.Table[stepReader]) table.Table[stepReader] {
	return slices.DeleteFunc(rows, func(r table.Row[stepReader]) bool { return r.Name == envFileName })
}

// noteSet notes the settings of a table that the step sets, with the reason why they have no effect.
func (r *stepReader) noteSet(reason string, rows table.Table[stepReader]) {
	var names []string
	for _, row := range rows {
		origin := r.Origins[row.Name]
		if row.NoEffect == "" && strings.HasPrefix(origin, table.Prefix) && !isFalseText(r.given[origin]) {
			names = append(names, origin)
		}
	}
	if names != nil {
		r.warn("not used: %s; %s", strings.Join(names, ", "), reason)
	}
}

// isFalseText reports whether a setting has the value false, which asks for nothing.
func isFalseText(text string) bool {
	on, err := table.ParseBool("", text)
	return err == nil && !on
}
