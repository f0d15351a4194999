package provider

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
)

// maxDockerfiles limits the number of Dockerfiles that a page offers.
const maxDockerfiles = 200

type repositories struct{ *connection }

var _ autobuild.Repositories = repositories{}

// Workspaces lists the workspaces of the user, or the workspace of the access token.
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

// List returns one page of a workspace's repositories and the next page's key. With the access
// token of a repository, it returns only that repository.
func (p repositories) List(
	ctx context.Context, workspace, search, page string,
) ([]autobuild.Repository, string, error) {
	if p.RepositoryName != "" {
		only, err := p.onlyRepository(ctx, search)
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

func (p repositories) onlyRepository(ctx context.Context, search string) ([]autobuild.Repository, error) {
	if !strings.Contains(strings.ToLower(p.RepositoryName), strings.ToLower(search)) {
		return nil, nil
	}
	r, err := p.Repository(ctx, p.RepositoryName)
	if err != nil {
		return nil, err
	}
	return []autobuild.Repository{r}, nil
}

// Repository returns a repository by its full name.
func (p repositories) Repository(ctx context.Context, fullName string) (autobuild.Repository, error) {
	id, err := parseFullName(fullName)
	if err != nil {
		return autobuild.Repository{}, err
	}
	r, err := p.Client.Repository(ctx, id)
	if err != nil {
		return autobuild.Repository{}, Translate(err)
	}
	return p.repository(r), nil
}

// Dockerfiles returns the files named Dockerfile, *.Dockerfile and Dockerfile.*, in any case.
// Files nearest to the root come first.
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
		return false // Dockerfile.dockerignore is not a Dockerfile
	case name == "dockerfile":
		return true
	default:
		return strings.HasPrefix(name, "dockerfile.") || strings.HasSuffix(name, ".dockerfile")
	}
}
