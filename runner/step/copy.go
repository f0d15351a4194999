package step

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"slipway/config/grammar"
	"slipway/runner/buildkit"
	"slipway/runner/commitstatus"
	"slipway/runner/imagefile"
	"slipway/runner/registry"
	"slipway/runner/source"
)

// copyFlow pushes an image that is in a registry or in a file, as it is.
func (r run) copyFlow() flow {
	return flow{
		header: []row{{"source", r.s.Copy.Source(), "PLUGIN_SOURCE_IMAGE"}},
		verb:   "Copies ",
		// A step that builds the same image has another subject, so the commit shows both statuses.
		subject: commitstatus.Subject{Image: r.s.Image(), Target: "push only"},
		plan:    r.planCopy,
		publish: r.findAndPush,
	}
}

// findAndPush runs the stages of a step that only pushes.
func (r run) findAndPush(ctx context.Context) (outcome, error) {
	started := r.o.Now()
	key, r, err := r.prepare(ctx)
	if err != nil {
		return outcome{}, err
	}
	checks := startPreflight(ctx, r.checkLogins, r.checkImages)
	defer checks.Cancel()
	if err := checks.WaitLogins(); err != nil {
		return outcome{}, err
	}
	var found *copySender
	findTime, err := r.log.Run("find", func() error {
		return checks.Run(ctx, func(ctx context.Context) (pushed bool, err error) {
			found, err = r.find(ctx)
			return false, err
		})
	})
	if found != nil {
		defer found.close()
	}
	if err != nil {
		return outcome{}, err
	}
	done, err := r.push(ctx, key, found)
	if err != nil {
		return outcome{}, err
	}
	done.image = found.current()
	done.stages = append([]stage{{"find", findTime}}, done.stages...)
	done.total = r.since(started)
	return done, r.leaveFiles(done)
}

// find returns the image to push.
func (r run) find(ctx context.Context) (*copySender, error) {
	if r.s.Copy.File != "" {
		return r.openFile(r.s.Copy.File)
	}
	reference := r.s.Copy.Reference
	name, _, _ := grammar.SplitReference(reference)
	found, err := r.registry.Find(ctx, reference, registry.LoginFor(name, r.s.Registries()))
	if err != nil {
		return nil, r.explainSourceError(reference, err)
	}
	return &copySender{run: r, found: found}, nil
}

// openFile opens an image's file. A relative path stays in the workspace: links of the repository cannot
// point outside.
func (r run) openFile(path string) (*copySender, error) {
	if !filepath.IsAbs(path) {
		top, err := filepath.Abs(r.s.Workspace)
		if err != nil {
			return nil, err
		}
		if path, err = (source.Tree{Dir: top}).Resolve(path); err != nil {
			return nil, fmt.Errorf("PLUGIN_SOURCE_IMAGE: the file %w", err)
		}
	}
	file, err := imagefile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("PLUGIN_SOURCE_IMAGE: %w", err)
	}
	return &copySender{run: r, file: file}, nil
}

// explainSourceError adds the likely cause to an error of a source in a registry.
func (r run) explainSourceError(reference string, err error) error {
	var refused *registry.UnauthorizedError
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return fmt.Errorf(
			"PLUGIN_SOURCE_IMAGE: %s does not exist in its registry; images in a Docker daemon are not visible here: "+
				"push it, or save it to a file and set the file's path: %w",
			reference,
			err,
		)
	case errors.As(err, &refused):
		return fmt.Errorf("PLUGIN_SOURCE_IMAGE: the logins of this step may not read %s: %w", reference, err)
	}
	var failed *registry.RequestError
	if errors.As(err, &failed) {
		p := r.place(grammar.ImageHost(reference), "PLUGIN_SOURCE_IMAGE")
		p.Reads = true
		err = withFix(err, p)
	}
	return fmt.Errorf("PLUGIN_SOURCE_IMAGE: %w", err)
}

// A copySender sends an image that was found: in a registry if file is empty, and in a file otherwise.
type copySender struct {
	run   run
	found registry.Found
	file  imagefile.Image
}

var _ sender = (*copySender)(nil)

func (s *copySender) current() buildkit.Image {
	if s.file.Content != nil {
		return buildkit.Image{Digest: s.file.Digest, Size: s.file.Size}
	}
	return buildkit.Image{Digest: s.found.Digest, Size: s.found.Size}
}

func (s *copySender) moved(string) bool { return false }

func (s *copySender) send(ctx context.Context, image, _ string) error {
	client, target := s.run.registry, s.run.loginFor(image)
	if s.file.Content != nil {
		return client.Upload(ctx, image, s.file.Digest, s.file.Content, target)
	}
	return client.Copy(ctx, s.found, image, s.run.loginFor(s.found.Image), target)
}

// close removes the unpacked file. If that fails, it stays in the system's temporary directory.
func (s *copySender) close() { _ = s.file.Close() }
