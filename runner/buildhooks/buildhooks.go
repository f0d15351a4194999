// Package buildhooks runs Docker Hub's build hooks. A hook is a script in the folder hooks/ beside the
// Dockerfile. It runs between the phases of a build, or in place of one.
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/advanced/#override-build-test-or-push-commands
package buildhooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Name is the file name of a hook.
type Name string

// The ten hooks. Build, Test and Push replace the step of the same name.
const (
	PostCheckout Name = "post_checkout"
	PreBuild     Name = "pre_build"
	Build        Name = "build"
	PostBuild    Name = "post_build"
	PreTest      Name = "pre_test"
	Test         Name = "test"
	PostTest     Name = "post_test"
	PrePush      Name = "pre_push"
	Push         Name = "push"
	PostPush     Name = "post_push"
)

// Order returns the hooks in the order in which they run.
func Order() []Name {
	return []Name{PostCheckout, PreBuild, Build, PostBuild, PreTest, Test, PostTest, PrePush, Push, PostPush}
}

// Pushes reports whether a hook runs only when the build publishes.
func (n Name) Pushes() bool { return n == PrePush || n == Push || n == PostPush }

// A Tree resolves paths of the source tree. source.Tree implements it.
type Tree interface {
	// File returns the real path of a regular file. It returns fs.ErrNotExist, wrapped, if there is none.
	File(p string) (string, error)
	// Directory does the same for a directory.
	Directory(p string) (string, error)
}

// Hooks are the hooks that one Dockerfile has.
type Hooks struct {
	root  string // root of the tree
	dir   string // directory of the Dockerfile
	files map[Name]string
}

// Find looks for hooks beside the Dockerfile, a path of the tree. A hook that leads out of
// the tree or is no file is an error.
func Find(t Tree, dockerfile string) (Hooks, error) {
	folder := path.Dir(dockerfile)
	dir, err := t.Directory(folder)
	if err != nil {
		return Hooks{}, fmt.Errorf("find the Dockerfile's folder: %w", err)
	}
	root, err := t.Directory(".")
	if err != nil {
		return Hooks{}, fmt.Errorf("find the root of the tree: %w", err)
	}
	h := Hooks{root: root, dir: dir, files: map[Name]string{}}
	for _, name := range Order() {
		file, err := t.File(path.Join(folder, "hooks", string(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Hooks{}, fmt.Errorf("find build hook %s: %w", name, err)
		}
		h.files[name] = file
	}
	return h, nil
}

// Has reports whether the repository has the hook.
func (h Hooks) Has(name Name) bool { return h.files[name] != "" }

// Present lists the existing hooks, in order.
func (h Hooks) Present() []Name {
	var present []Name
	for _, name := range Order() {
		if h.Has(name) {
			present = append(present, name)
		}
	}
	return present
}

// Pushing lists the hooks that may need a registry credential in a build that publishes, in order. These
// are the hooks around the push, and Build if no Push follows it. Without a Push, Build has to push
// itself.
func (h Hooks) Pushing() []Name {
	return slices.DeleteFunc(h.Present(), func(n Name) bool {
		return !n.Pushes() && (n != Build || h.Has(Push))
	})
}

// Files returns the paths of hooks in the repository: "hooks/pre_push, hooks/push".
func Files(names []Name) string {
	files := make([]string, len(names))
	for i, n := range names {
		files[i] = "hooks/" + string(n)
	}
	return strings.Join(files, ", ")
}

// CheckPush returns an error if a hook exists that has to push the image. The caller uses it if hooks
// get no registry credential, because such a hook then cannot work. Hooks that run before and after a
// push are no error: many of them only send notifications.
func (h Hooks) CheckPush() error {
	const off = "build hooks get no registry credential (SLIPWAY_PUSH_HOOKS=off at the gateway)"
	switch {
	case h.Has(Push):
		return fmt.Errorf("build hook hooks/push has to push the image, and %s: "+
			"delete the hook, so that Slipway pushes every tag, or set SLIPWAY_PUSH_HOOKS=on", off)
	case h.Has(Build):
		return fmt.Errorf(
			"build hook hooks/build has to push the image, and %s: "+
				"build with the Dockerfile instead, or set SLIPWAY_PUSH_HOOKS=on",
			off,
		)
	}
	return nil
}

// A Failure is the failed end of a hook.
type Failure struct {
	Hook Name
	Code int    // its exit code; -1 = it was killed or could not be started
	Why  string // used if Code is -1
}

// Error returns the hook and its exit code, or the reason Why.
func (f *Failure) Error() string {
	if f.Code >= 0 {
		return fmt.Sprintf("build hook hooks/%s ended with exit code %d", f.Hook, f.Code)
	}
	return fmt.Sprintf("build hook hooks/%s %s", f.Hook, f.Why)
}

// An Execution holds the environment, output and limits of one hook's run.
type Execution struct {
	Environ []string      // the complete environment; see Environment
	Output  io.Writer     // its standard output and error
	Grace   time.Duration // between SIGTERM and SIGKILL after the end of ctx; default 10 s
}

// A Program is a hook to run.
type Program struct {
	Hook Name
	File string // path of the executable file
	Dir  string // directory to run in
	Execution
}

// An Executor runs the programs of hooks, isolated from this process as well as it can.
type Executor interface {
	// Execute runs a program until it ends, and kills all processes that it leaves behind. It returns
	// *Failure if the exit code is not 0, and ctx's cause if ctx ended it.
	Execute(ctx context.Context, p Program) error
}

// Run runs the hook, if it exists, in the Dockerfile's folder. Its errors are those of x.
func (h Hooks) Run(ctx context.Context, name Name, x Executor, e Execution) error {
	file := h.files[name]
	if file == "" {
		return nil
	}
	if err := h.makeExecutable(file); err != nil {
		// Find found the file, so an earlier hook has changed it since.
		return &Failure{Hook: name, Code: -1, Why: fmt.Sprintf("cannot be made executable: %v", err)}
	}
	return x.Execute(ctx, Program{Hook: name, File: file, Dir: h.dir, Execution: e})
}

// makeExecutable sets the mode of a hook: hooks committed without their x bit work at Docker Hub. An
// earlier hook may have replaced the file by a symbolic link, which must not lead out of the tree.
func (h Hooks) makeExecutable(file string) error {
	root, err := os.OpenRoot(h.root)
	if err != nil {
		return err
	}
	defer root.Close()
	path, err := filepath.Rel(h.root, file)
	if err != nil {
		return err
	}
	return root.Chmod(path, 0o755)
}
