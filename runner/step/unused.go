package step

import (
	"context"
	"path/filepath"
	"strings"

	"slipway/config/text"
	"slipway/runner/buildkit"
	"slipway/runner/lfspointer"
	"slipway/runner/testfiles"
)

// noteUnusedFiles names files that change the result at Docker Hub and not here: test files, which no step
// runs, and pointers of Git LFS, whose files the CI did not fetch. They fail builds under a gateway. A step
// takes the place of plugins that build such a workspace, so it only says what the image lacks.
func (r run) noteUnusedFiles(ctx context.Context, request buildkit.Request) {
	if tests, err := testfiles.Find(filepath.Dir(request.Dockerfile)); err == nil && len(tests) > 0 {
		r.log.Line("note: %s: the step runs no tests", strings.Join(tests, ", "))
	}
	pointers, err := lfspointer.Find(ctx, request.Context, request.Dockerfile)
	if err == nil && len(pointers) > 0 { // the build itself reports a context that cannot be read
		r.log.Line("note: the build context has %s in place of files, for example %s: "+
			"the image gets the pointers; run `git lfs pull` in an earlier step, or exclude them in .dockerignore",
			text.Plural(len(pointers), "Git LFS pointer"), pointers[0])
	}
}
