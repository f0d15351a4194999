package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"slipway/runner/buildlog"
	"slipway/runner/registry"
)

// A Tag is one name of an image.
type Tag struct {
	Image string // registry/name
	Name  string
	Login registry.Login
}

// String returns the full name, for example registry.example.com/acme/app:1.2.
func (t Tag) String() string { return t.Image + ":" + t.Name }

// A TagResult is the result of the push of one tag.
type TagResult struct {
	Tag Tag
	Err error // nil = the tag points at the image
}

// A TagsError lists the tags that were not pushed. Results has all of them.
type TagsError struct{ Results []TagResult }

// Error lists the tags that were not pushed, with their errors, and the tags that were.
func (e *TagsError) Error() string {
	var problems, pushed []string
	for _, r := range e.Results {
		name := shortName(r.Tag, e.Results)
		if r.Err != nil {
			problems = append(problems, name+": "+r.Err.Error())
		} else {
			pushed = append(pushed, name)
		}
	}
	rest := "no tag was pushed"
	if len(pushed) > 0 {
		rest = "pushed: " + strings.Join(pushed, ", ")
	}
	return fmt.Sprintf(
		"%d of %d tags were not pushed: %s; %s",
		len(problems),
		len(e.Results),
		strings.Join(problems, "\n"),
		rest,
	)
}

// Unwrap returns the error of each tag that was not pushed.
func (e *TagsError) Unwrap() []error {
	var all []error
	for _, r := range e.Results {
		if r.Err != nil {
			all = append(all, r.Err)
		}
	}
	return all
}

// An abortError ends MoveTags.
type abortError struct{ error }

func (e *abortError) Unwrap() error { return e.error }

// Abort wraps an error of a move after which MoveTags tries no further tag. MoveTags returns err itself.
func Abort(err error) error { return &abortError{err} }

// MoveTags calls move for each tag, in order, and logs each result. An error of one tag does not stop the
// others; the returned error is then a *TagsError. It returns a result for each tag that it tried. MoveTags
// stops with ctx's cause when ctx ends, and with err when a move returns Abort(err).
func MoveTags(
	ctx context.Context,
	tags []Tag,
	move func(context.Context, Tag) error,
	log buildlog.Log,
) ([]TagResult, error) {
	results := make([]TagResult, 0, len(tags))
	failed := false
	for _, tag := range tags {
		err := move(ctx, tag)
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		var abort *abortError
		if errors.As(err, &abort) {
			return results, abort.error
		}
		results = append(results, TagResult{Tag: tag, Err: err})
		if err != nil {
			failed = true
			log.Line("tag %s was not pushed: %v", tagName(tag, tags), err)
		} else {
			log.Line("pushed %s", tag)
		}
	}
	if failed {
		return results, &TagsError{Results: results}
	}
	return results, nil
}

// tagName is a tag's short name: with its image only if there are several images.
func tagName(tag Tag, all []Tag) string {
	for _, other := range all {
		if other.Image != tag.Image {
			return tag.String()
		}
	}
	return tag.Name
}

func shortName(tag Tag, all []TagResult) string {
	tags := make([]Tag, len(all))
	for i, r := range all {
		tags[i] = r.Tag
	}
	return tagName(tag, tags)
}
