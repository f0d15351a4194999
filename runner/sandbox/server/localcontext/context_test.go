package localcontext

import (
	"context"
	"testing"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/local"
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
		got, err := contextSource{Source: clients{}}.Resolve(t.Context(), &c.request, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, here := got.(contextCopy); here != c.here {
			t.Errorf("%s: got a %T, want a context copy: %t", name, got, c.here)
		}
	}
}
