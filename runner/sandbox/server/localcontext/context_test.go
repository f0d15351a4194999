package localcontext

import (
	"context"
	"testing"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/local"
	"github.com/tonistiigi/fsutil"
)

// clients is a source that requests files from clients.
type clients struct{ source.Source }

func (clients) Resolve(
	context.Context,
	source.Identifier,
	*session.Manager,
	solver.Vertex,
) (source.SourceInstance, error) {
	return ofClients{}, nil
}

type ofClients struct{ source.SourceInstance }

// asked is a source that records the requests.
type asked struct {
	source.Source
	requests []local.LocalIdentifier
}

func (a *asked) Resolve(
	_ context.Context,
	id source.Identifier,
	_ *session.Manager,
	_ solver.Vertex,
) (source.SourceInstance, error) {
	a.requests = append(a.requests, *id.(*local.LocalIdentifier))
	return ofClients{}, nil
}

// Two requests for a context never share a key, so each one starts with an empty directory. The request itself,
// from which the solver makes its own key, does not change.
func TestEachContextHasAKeyOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		request local.LocalIdentifier
		own     bool
	}{
		"a context":           {local.LocalIdentifier{Name: "context", SharedKeyHint: "hint"}, true},
		"another directory":   {local.LocalIdentifier{Name: "docs", SharedKeyHint: "hint"}, true},
		"a list of its files": {local.LocalIdentifier{Name: "context", SharedKeyHint: "hint", MetadataOnly: true}, true},
		"files to send again": {
			local.LocalIdentifier{Name: "dockerfile", SharedKeyHint: "hint", Differ: fsutil.DiffNone},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var clients asked
			s := contextSource{Source: &clients}
			for range 2 {
				if _, err := s.Resolve(t.Context(), &c.request, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			if got := clients.requests[0].SharedKeyHint != clients.requests[1].SharedKeyHint; got != c.own {
				t.Errorf("two keys: got %t, want %t", got, c.own)
			}
			if got, want := c.request.SharedKeyHint, "hint"; got != want {
				t.Errorf("key of the request: got %q, want %q", got, want)
			}
		})
	}
}

// The builder reads only the files of the build context itself. Clients send all other directories.
func TestContextFilesAreNotRequestedFromClients(t *testing.T) {
	for name, c := range map[string]struct {
		request local.LocalIdentifier
		here    bool
	}{
		"the context":              {local.LocalIdentifier{Name: "context"}, true},
		"the Dockerfile":           {local.LocalIdentifier{Name: "dockerfile"}, false},
		"another session's":        {local.LocalIdentifier{Name: "other-context"}, false},
		"a list of what there is":  {local.LocalIdentifier{Name: "context", MetadataOnly: true}, false},
		"a named context, by name": {local.LocalIdentifier{Name: "docs"}, false},
	} {
		got, err := contextSource{Source: clients{}, dir: "/context"}.Resolve(t.Context(), &c.request, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, here := got.(contextCopy); here != c.here {
			t.Errorf("%s: got a %T, want a context copy: %t", name, got, c.here)
		}
	}
}
