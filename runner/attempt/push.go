package attempt

import (
	"context"
	"strings"

	"slipway/config/text"
	"slipway/runner/buildhooks"
	"slipway/runner/publish"
	"slipway/runner/spec"
)

// push publishes: the image by its digest first, then each tag, so that no tag ever points at an image
// that is not there. The outcome is valid also with an error.
func (j *job) push(ctx context.Context, c checkout, b built, builder *builderConnection) (done outcome, err error) {
	done.image = b.image
	err = j.runStage(spec.StagePush, func() (string, error) {
		hookLogins := b.hookLogins
		if hookLogins.Dir == "" {
			if hookLogins, err = j.writeHookLogins(c); err != nil {
				return "", err
			}
		}
		if err := j.runHooks(ctx, c, hookLogins, buildhooks.PrePush); err != nil {
			return "", err
		}
		if err := j.o.atFailpoint("upload", func() error { return j.upload(ctx, b, builder) }); err != nil {
			return "", err
		}
		if c.hooks.Has(buildhooks.Push) {
			done, err = j.pushByHook(ctx, c, b, hookLogins)
		} else {
			done.tags, err = j.moveTags(ctx, b)
		}
		if err != nil {
			return "", err
		}
		return tagNames(done.tags), j.runHooks(ctx, c, hookLogins, buildhooks.PostPush)
	})
	return done, err
}

// upload sends an image that the builder made. It does nothing for an image of hooks/build, because the
// hook decides about its upload.
func (j *job) upload(ctx context.Context, b built, builder *builderConnection) error {
	if builder.Builder == nil {
		return nil
	}
	request := b.request
	request.Registries = j.logins.Push
	repositories := []publish.Repository{{Image: j.spec.Image}}
	return publish.Upload(ctx, repositories, func(ctx context.Context, _, _ string) error {
		return builder.Push(ctx, request, b.image.Digest)
	})
}

// moveTags points every tag at the image. It requests the permit again before each try. Since the last
// reply, an upload or earlier tries may have taken minutes, and a newer build may have moved the tag.
func (j *job) moveTags(ctx context.Context, b built) ([]spec.TagResult, error) {
	var refused error
	registry := j.registry.WithPermit(func(ctx context.Context) error {
		refused = j.askPermit(ctx, b.image.Digest)
		return refused
	})
	tags := make([]publish.Tag, len(j.spec.Tags))
	for i, name := range j.spec.Tags {
		tags[i] = j.tag(name)
	}
	manifest := publish.ManifestOf(b.image)
	results, err := publish.MoveTags(ctx, tags, func(ctx context.Context, t publish.Tag) error {
		err := j.o.atFailpoint("push tag "+t.Name, func() error {
			return registry.Tag(ctx, t.Image, manifest, t.Name, t.Login)
		})
		if refused != nil {
			return publish.Abort(refused)
		}
		return err
	}, j.log)
	return j.tagResults(results), err
}

// tagResults returns the results for the gateway, which shows them: their errors are masked.
func (j *job) tagResults(results []publish.TagResult) []spec.TagResult {
	all := make([]spec.TagResult, len(results))
	for i, r := range results {
		all[i].Tag = r.Tag.Name
		if r.Err != nil {
			all[i].Error = text.OneLine(j.redactor.MaskError(r.Err).Error(), maxDetail)
		}
	}
	return all
}

// pushByHook runs the repository's hooks/push and then checks which tags exist. As at Docker Hub, the
// hook chooses the tags that it pushes.
func (j *job) pushByHook(
	ctx context.Context,
	c checkout,
	b built,
	hookLogins buildhooks.DockerConfig,
) (done outcome, err error) {
	done.image = b.image
	if err := j.askPermit(ctx, b.image.Digest); err != nil { // again: the upload may have taken long
		return done, err
	}
	if err := j.runHooks(ctx, c, hookLogins, buildhooks.Push); err != nil {
		return done, err
	}
	for _, tag := range j.spec.Tags {
		digest, err := j.digestOf(ctx, tag)
		if err != nil {
			return done, err
		}
		if digest == "" {
			j.log.Line("hooks/push did not push tag %s", tag)
			continue
		}
		done.tags = append(done.tags, spec.TagResult{Tag: tag})
		if done.image.Digest == "" {
			done.image.Digest = digest
		}
	}
	return done, nil
}

func tagNames(tags []spec.TagResult) string {
	names := make([]string, len(tags))
	for i, t := range tags {
		names[i] = t.Tag
	}
	return strings.Join(names, ", ")
}
