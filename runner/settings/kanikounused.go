package settings

import (
	"fmt"

	"slipway/runner/settings/table"
)

// kanikoUnusedTable declares settings that do not change the image here.
func kanikoUnusedTable() (rows table.Table[stepReader]) {
	const reason = "BuildKit builds the image, and not kaniko (docs/migrate-kaniko.md)"
	for _, one := range []struct{ name, help string }{
		{"CACHE_COPY_LAYERS", "every step is cached"},
		{"CACHE_DIR", "use state for a cache on the agent"},
		{"CACHE_RUN_LAYERS", "every step is cached"},
		{"CACHE_TTL", "a cache does not expire"},
		{"CLEANUP", "the builder's files are removed with the step"},
		{"COMPRESSED_CACHING", "layers are not kept in memory"},
		{"FORCE", "the step needs no container"},
		{"IGNORE_VAR_RUN", "BuildKit makes layers of the files that RUN changes"},
		{"IMAGE_DOWNLOAD_RETRY", "downloads are retried"},
		{"IMAGE_FS_EXTRACT_RETRY", "downloads are retried"},
		{"LOG_FORMAT", "the log is text"},
		{"LOG_LEVEL", "use debug or quiet"},
		{"LOG_TIMESTAMP", "the CI has the time of each line"},
		{"PUSH_RETRY", "pushes are retried"},
		{"SINGLE_SNAPSHOT", "BuildKit makes a layer of each instruction; use COPY --from of a stage for few layers"},
		{"SKIP_PUSH_PERMISSION_CHECK", "the registry is asked while the image is built"},
		{"SKIP_UNUSED_STAGES", "unused stages are never built"},
		{"SNAPSHOT_MODE", "BuildKit makes layers of the files that RUN changes"},
		{"USE_NEW_RUN", "BuildKit makes layers of the files that RUN changes"},
		{"VERBOSITY", "use debug or quiet"},
	} {
		rows = append(rows, table.Row[stepReader]{
			Name: table.Prefix + one.name, Help: "no effect: " + one.help, NoEffect: reason,
		})
	}
	return rows
}

// kanikoRefusedTable declares settings that change the image or a file, and cannot be honored.
func kanikoRefusedTable() (rows table.Table[stepReader]) {
	for _, one := range []struct{ name, help, fix string }{
		{
			"IGNORE_PATH", "BuildKit cannot leave files out of a layer",
			"remove the files in the RUN that makes them, or mount a directory there: RUN --mount=type=tmpfs,target=PATH",
		},
		{
			"IGNORE_PATHS", "BuildKit cannot leave files out of a layer",
			"remove the files in the RUN that makes them, or mount a directory there: RUN --mount=type=tmpfs,target=PATH",
		},
		{
			"OCI_LAYOUT_PATH", "the step writes an OCI layout only as an archive",
			"set output: type=oci,dest=image.tar",
		},
		{
			"SKIP_DEFAULT_REGISTRY_FALLBACK", "a builder reads from the registry what its mirror does not have",
			"remove it, and name the mirror's images in FROM",
		},
	} {
		rows = append(rows, table.Row[stepReader]{
			Name: table.Prefix + one.name,
			Help: "an error: " + one.help + "; instead, " + one.fix,
			Set: func(_ *stepReader, name, text string) error {
				if on, err := table.ParseBool(name, text); err == nil && !on {
					return nil
				}
				return fmt.Errorf("%s is not supported: %s: %s", name, one.help, one.fix)
			},
		})
	}
	return rows
}
