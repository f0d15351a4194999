package runner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"slipway/runner/source"
	"slipway/runner/spec"
)

// epochArg is the build argument by which images are made reproducible, in seconds since 1970.
const epochArg = "SOURCE_DATE_EPOCH"

// date gives the build the commit's date, where the image's files are to have none that is newer
// and the pipeline names none. Without one the files keep their own.
func (r *standalone) date(ctx context.Context) {
	if !r.s.Build.RewriteTimestamp || r.s.BuildArgs[epochArg] != "" {
		return
	}
	when, err := source.AuthorDate(ctx, r.s.Workspace)
	if err != nil {
		r.log.line(
			"note: files keep their dates, for the commit's is not known; give the build argument SOURCE_DATE_EPOCH (%s)",
			firstLine(err.Error()),
		)
		return
	}
	r.s.BuildArgs[epochArg] = strconv.FormatInt(when.Unix(), 10)
	r.log.line("  %-11s %s (the commit's)", "date", when.UTC().Format("2006-01-02 15:04:05"))
}

// archive finds where the file of the image is to be, and makes its directory. A path from the
// workspace stays within it, whatever the repository links to.
func archive(a spec.Archive, workspace string, names []string) (spec.Archive, error) {
	if a.Type == "" {
		return a, nil
	}
	a.Names = names
	if filepath.IsAbs(a.Path) {
		return a, nil
	}
	root, err := os.OpenRoot(workspace)
	if err != nil {
		return a, err
	}
	defer func() { _ = root.Close() }()
	folder := filepath.Dir(filepath.Clean(a.Path))
	if err := root.MkdirAll(folder, 0o755); err != nil {
		return a, fmt.Errorf("PLUGIN_OUTPUT: dest=%s: %w; give a path that this step may write", a.Path, err)
	}
	real, err := source.Tree{Dir: workspace}.Directory(folder)
	if err != nil {
		return a, fmt.Errorf("PLUGIN_OUTPUT: the directory of dest %w; give a path from the workspace", err)
	}
	a.Path = filepath.Join(real, filepath.Base(a.Path))
	return a, nil
}

// names are all tags that the step pushes, each with its image's name.
func (r *standalone) names() (all []string) {
	for _, image := range r.s.Images {
		for _, tag := range r.s.Tags {
			all = append(all, image+":"+tag)
		}
	}
	return all
}
