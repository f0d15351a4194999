package provider

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
)

// maxDockerfiles is how many a page can sensibly offer.
const maxDockerfiles = 200

type repositories struct{ *connection }

var _ autobuild.Repositories = repositories{}

// Workspaces lists the user's workspaces; an access token's is known.
func (p repositories) Workspaces(ctx context.Context) ([]autobuild.Workspace, error) {
	if p.Workspace.Slug != "" {
		return []autobuild.Workspace{p.Workspace}, nil
	}
	found, err := p.Client.Workspaces(ctx)
	if err != nil {
		return nil, Translate(err)
	}
	workspaces := make([]autobuild.Workspace, 0, len(found))
	for _, w := range found {
		workspaces = append(workspaces, autobuild.Workspace{ID: w.UUID, Slug: w.Slug})
	}
	return workspaces, nil
}

// List returns one page of a workspace. A repository's access token lists that repository.
func (p repositories) List(ctx context.Context, workspace, search, page string) ([]autobuild.Repository, string, error) {
	if p.RepositoryName != "" {
		only, err := p.only(ctx, search)
		return only, "", err
	}
	found, err := p.Client.Repositories(ctx, workspace, search, page)
	if err != nil {
		return nil, "", Translate(err)
	}
	repos := make([]autobuild.Repository, 0, len(found.Repositories))
	for _, r := range found.Repositories {
		repos = append(repos, p.repository(r))
	}
	return repos, found.Next, nil
}

func (p repositories) only(ctx context.Context, search string) ([]autobuild.Repository, error) {
	if !strings.Contains(strings.ToLower(p.RepositoryName), strings.ToLower(search)) {
		return nil, nil
	}
	r, err := p.Repository(ctx, p.RepositoryName)
	if err != nil {
		return nil, err
	}
	return []autobuild.Repository{r}, nil
}

// Repository finds one by full name.
func (p repositories) Repository(ctx context.Context, fullName string) (autobuild.Repository, error) {
	id, err := named(fullName)
	if err != nil {
		return autobuild.Repository{}, err
	}
	r, err := p.Client.Repository(ctx, id)
	if err != nil {
		return autobuild.Repository{}, Translate(err)
	}
	return p.repository(r), nil
}

// Dockerfiles finds the files named Dockerfile, *.Dockerfile and Dockerfile.*, in any case,
// those nearest to the root first.
func (p repositories) Dockerfiles(ctx context.Context, r autobuild.Repository, commit string) ([]string, error) {
	id, err := address(r)
	if err != nil {
		return nil, err
	}
	files, err := p.Client.Files(ctx, id, commit, "dockerfile")
	if err != nil {
		return nil, Translate(err)
	}
	return dockerfiles(files), nil
}

func dockerfiles(files []string) []string {
	found := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !isDockerfile(f) })
	slices.SortFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "/"), strings.Count(b, "/")), cmp.Compare(a, b))
	})
	return found[:min(len(found), maxDockerfiles)]
}

func isDockerfile(file string) bool {
	name := strings.ToLower(path.Base(file))
	switch {
	case strings.HasSuffix(name, ".dockerignore"):
		return false // Dockerfile.dockerignore belongs to one, and is none
	case name == "dockerfile":
		return true
	default:
		return strings.HasPrefix(name, "dockerfile.") || strings.HasSuffix(name, ".dockerfile")
	}
}
