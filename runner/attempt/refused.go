package attempt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"slipway/config/text"
	"slipway/runner/buildhooks"
	"slipway/runner/buildkit"
	"slipway/runner/lfspointer"
	"slipway/runner/testfiles"
)

// checkTests fails a build that has test files beside its Dockerfile, because this version does not run them
// and the image must not be pushed untested. A hooks/test replaces the test files, as at Docker Hub.
func (j *job) checkTests(c checkout) error {
	found, err := testFiles(c, path.Dir(j.spec.Dockerfile))
	if err != nil || len(found) == 0 || c.hooks.Has(buildhooks.Test) {
		return err
	}
	if j.spec.TestsOff {
		j.log.Line("note: %s: not run, because the automated build ignores test files", strings.Join(found, ", "))
		return nil
	}
	return failed(reasonTest, fmt.Errorf("%s: tests are not run by this version, so nothing is built: "+
		"choose “Ignore” for “Test files” in the automated build's options (tests: ignore), "+
		"or run the tests in hooks/test", strings.Join(found, ", ")))
}

// testFiles returns the paths of the test files in a folder of the tree. A folder that does not exist has none:
// a hook may make it.
func testFiles(c checkout, folder string) ([]string, error) {
	dir, err := c.tree.Directory(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the Dockerfile's folder %w; correct the rule's Dockerfile or context", err)
	}
	found, err := testfiles.Find(dir)
	for i, name := range found {
		found[i] = path.Join(folder, name)
	}
	return found, err
}

// checkPointers fails a build whose context has pointers of Git LFS in place of files. Hooks before the build may
// have fetched the files.
func (j *job) checkPointers(ctx context.Context, r buildkit.Request) error {
	found, err := lfspointer.Find(ctx, r.Context, r.Dockerfile)
	switch {
	case errors.Is(err, fs.ErrPermission): // another attempt finds the same directory
		return failed(reasonConfig, err)
	case err != nil || len(found) == 0:
		return err
	}
	return failed(reasonConfig, fmt.Errorf("the build context has %s in place of files, for example %s: "+
		"Git LFS files are not fetched by this version: fetch them in hooks/post_checkout with `git lfs pull`, "+
		"or exclude them in .dockerignore", text.Plural(len(found), "Git LFS pointer"), found[0]))
}
