package step

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"slipway/config/grammar"
	"slipway/config/text"
	"slipway/runner/buildkit"
	"slipway/runner/settings"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// epochArg is the build argument for reproducible images, in seconds since 1970.
const epochArg = "SOURCE_DATE_EPOCH"

// buildRequest returns the request to the builder, with resolved paths of the Dockerfile and the context.
func (r run) buildRequest(args map[string]string) (buildkit.Request, error) {
	top, err := r.workspace()
	if err != nil {
		return buildkit.Request{}, err
	}
	for setting, path := range map[string]string{"PLUGIN_CONTEXT": r.s.Context, "PLUGIN_DOCKERFILE": r.s.Dockerfile} {
		if strings.Contains(path, "://") {
			return buildkit.Request{}, fmt.Errorf("%s is %s: set a path in the workspace; "+
				"let the CI clone another repository, or use ADD in the Dockerfile", r.s.Origins[setting], path)
		}
	}
	tree := source.Tree{Dir: top}
	dockerfile, err := tree.Dockerfile(tree.Relative(filepath.Clean(r.s.Dockerfile)))
	if err != nil {
		return buildkit.Request{}, fmt.Errorf(
			"PLUGIN_DOCKERFILE: the Dockerfile %w; set a path in the workspace %s",
			err,
			top,
		)
	}
	folder, err := tree.Directory(tree.Relative(filepath.Clean(r.s.Context)))
	if err != nil {
		return buildkit.Request{}, fmt.Errorf(
			"PLUGIN_CONTEXT: the build context %w; set a path in the workspace %s",
			err,
			top,
		)
	}
	options, err := r.buildOptions(top, r.created(args))
	if err != nil {
		return buildkit.Request{}, err
	}
	return buildkit.Request{
		Context:    folder,
		Dockerfile: dockerfile,
		Target:     r.s.Target,
		BuildArgs:  args,
		Platforms:  r.s.Platforms,
		NoCache:    r.s.NoCache,
		Check:      r.s.Check,
		NoExport:   r.discardsImage(),
		Image:      r.s.Image(),
		Publish:    r.publishes() && builderMayPush(r.s.Builder, r.s.Image()),
		Tag:        r.builderTag(options.CacheTo),
		Whole:      len(r.s.Images) > 1,
		Registries: r.s.Registries(),
		Certs:      r.certs,
		Progress:   r.log,
		SharedKey:  r.s.Image(),
		Options:    options,
	}, nil
}

// discardsImage reports whether the image is neither pushed nor described by a file, so that only the steps
// of the Dockerfile matter. Compressing its layers would take most of the time of a dry run.
func (r run) discardsImage() bool {
	needed := r.publishes() || r.s.Files.Digest != "" || r.s.Files.Metadata != ""
	return !needed && (r.s.Build.Archive.Type == "" || r.s.Build.Archive.Type == spec.ArchiveTar)
}

// workspace returns the absolute path of the checked-out repository.
func (r run) workspace() (string, error) {
	top, err := filepath.Abs(r.s.Workspace)
	if err != nil {
		return "", fmt.Errorf("workspace %s: %w", r.s.Workspace, err)
	}
	if info, err := os.Stat(top); err != nil || !info.IsDir() {
		return "", fmt.Errorf(
			"the workspace %s (%s) is not a directory: run the step where the repository is checked out",
			top,
			r.s.Origins["workspace"],
		)
	}
	return top, nil
}

// buildArgs returns the settings' build arguments. If the files of the image get the commit's date and
// the settings name none, it adds that date. Without a known date the files keep their own.
func (r run) buildArgs(ctx context.Context) map[string]string {
	if !r.s.Build.RewriteTimestamp || r.s.BuildArgs[epochArg] != "" {
		return r.s.BuildArgs
	}
	when, err := source.AuthorDate(ctx, r.s.Workspace)
	if err != nil {
		r.log.Line(
			"note: files keep their own dates: cannot read the commit's date (%s): set the build argument SOURCE_DATE_EPOCH",
			text.FirstLine(err.Error()),
		)
		return r.s.BuildArgs
	}
	r.log.Row("date", when.UTC().Format("2006-01-02 15:04:05")+" (the commit's)")
	args := map[string]string{}
	maps.Copy(args, r.s.BuildArgs)
	args[epochArg] = strconv.FormatInt(when.Unix(), 10)
	return args
}

// created returns the time of the label and the annotation "created": the date of the build arguments, or else the
// present time. With a fixed date, two builds of one commit give the same image.
// https://reproducible-builds.org/specs/source-date-epoch/
func (r run) created(args map[string]string) time.Time {
	seconds, err := strconv.ParseInt(args[epochArg], 10, 64)
	if err != nil {
		return r.o.Now()
	}
	return time.Unix(seconds, 0)
}

// builderMayPush decides whether a builder may push the image itself: one that the step starts, or one
// on this machine. Elsewhere a host name without a dot, or an address, may be another registry.
func builderMayPush(address, image string) bool {
	if address == "" || strings.HasPrefix(address, "unix:") {
		return true
	}
	host := grammar.ImageHost(image)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Contains(host, ".") && net.ParseIP(host) == nil
}

// builderTag returns the tag that the builder moves as the last of its push; empty = none. Only a builder
// of this step's own moves it, because it reaches the same registry as the step. The image must have one
// repository. It must have no signature, because a signature comes before the tag. No cache may fail the
// build after the tag has moved.
func (r run) builderTag(caches []spec.Cache) string {
	if !r.publishes() || r.s.Builder != "" || len(r.s.Images) > 1 || !r.s.Sign.Key.IsZero() {
		return ""
	}
	mayFail := func(c spec.Cache) bool { return c.Type != spec.CacheInline && c.Attrs["ignore-error"] != "true" }
	if slices.ContainsFunc(caches, mayFail) {
		return ""
	}
	return r.s.Tags[0]
}

// ociPrefix is the prefix of the annotations that OCI defines.
const ociPrefix = "org.opencontainers.image."

// labels returns the labels of the image and the annotations of its manifests. They hold the CI's facts
// about the commit and the labels of the settings; the settings win.
// https://specs.opencontainers.org/image-spec/annotations/#pre-defined-annotation-keys
func labels(s settings.Plugin, created time.Time) (labels, annotations map[string]string) {
	labels = map[string]string{}
	if s.Labels.Auto {
		annotations = map[string]string{}
		link := s.Labels.Link
		if link == "" {
			link = s.CI.RepositoryLink
		}
		for name, value := range map[string]string{
			"created":  created.UTC().Format(time.RFC3339),
			"revision": s.CI.Commit,
			"source":   s.CI.RemoteURL,
			"url":      link,
			"version":  version(s.CI.Tag),
		} {
			if value != "" {
				annotations[ociPrefix+name] = value
			}
		}
		for name, value := range s.Labels.Schema {
			annotations[ociPrefix+name] = value
		}
		maps.Copy(labels, annotations)
	}
	maps.Copy(labels, s.Labels.Named)
	for name := range annotations {
		annotations[name] = labels[name]
	}
	return labels, annotations
}

// version returns the version that a tag names, for example 1.2.3 for v1.2.3; empty for other tags.
func version(tag string) string {
	v := strings.TrimPrefix(tag, "v")
	if !semver.IsValid("v" + v) {
		return ""
	}
	return v
}
