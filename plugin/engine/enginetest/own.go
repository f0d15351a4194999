package enginetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/world/worldtest"
)

// OwnPipeline is how repositories tell a CI what to run of their own accord.
type OwnPipeline struct {
	File string                   // its path in a repository
	Text func(line string) string // one that clones and then runs a line of shell there
	// Activate has the CI hear of a repository's pushes, as a person does on its pages.
	Activate func(ctx context.Context, fullName string) error
}

// ownPipeline: a repository with a pipeline of its own runs it with each push, once and as it
// is, beside the build of ours.
func (c *CI) ownPipeline(h *worldtest.House) {
	said := filepath.Join(h.Dir, "own-pipeline")
	files := func(greeting string) map[string]string {
		all := h.Dockerfile(greeting)
		all[c.Own.File] = c.Own.Text("cat greeting.txt >> " + said)
		return all
	}
	p := h.Automate(files("x"), worldtest.MainToLatest())
	h.Must(c.Own.Activate(h.Context, p.Repository.FullName()))
	want := ""
	for i, greeting := range []string{"first, ", "second, "} {
		commit := p.Commit(greeting, files(greeting))
		p.Push("main")
		p.Holds("latest", p.End(i+1, autobuild.Succeeded), greeting)
		p.OneEnd(commit)
		want += greeting
		h.Until("its own pipeline has run", func() (bool, error) {
			got, err := os.ReadFile(said)
			if errors.Is(err, os.ErrNotExist) {
				return false, nil
			}
			return len(got) >= len(want), err
		})
		if got, err := os.ReadFile(said); err != nil || string(got) != want {
			h.T.Errorf("its own pipelines said %q, %v, want %q", got, err, want)
		}
	}
}
