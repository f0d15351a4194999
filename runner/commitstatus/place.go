// Package commitstatus reports at Bitbucket, Cloud or Data Center, what became of a step that
// no gateway knows of. Where the commit lies and what is said of it are pure decisions; Post is
// the one call.
package commitstatus

import (
	"fmt"
	"net/url"
	"strings"

	"slipway/runner/ci"
)

// CloudAPI is the origin of Bitbucket Cloud's API.
const CloudAPI = "https://api.bitbucket.org"

const cloudHost = "bitbucket.org"

// A Place is a repository at one Bitbucket.
type Place struct {
	API         string // base URL of its API, the only origin that sees the credential
	DataCenter  bool
	Owner, Slug string // workspace, or project key (~name for a person's)
}

// Find tells where the commit of a run lies: from the address that the CI clones from, and the
// base URL that was set, if any. Its error says why there is no place and how to mend it.
//
// Clone addresses: https://bitbucket.org/{workspace}/{slug}.git and {base}/scm/{project}/{slug}.git,
// or the same by SSH without the /scm.
func Find(run ci.Run, baseURL string) (Place, error) {
	remote, err := readRemote(run.RemoteURL)
	if err != nil {
		return Place{}, err
	}
	if strings.EqualFold(remote.owner, run.RepositoryOwner) {
		remote.owner = run.RepositoryOwner // clone addresses of Data Center have a project's key in small letters
	}
	p := Place{Owner: remote.owner, Slug: remote.slug, API: strings.TrimRight(baseURL, "/")}
	switch {
	case remote.host == cloudHost || run.Forge == "bitbucket":
		if u, err := url.Parse(p.API); p.API == "" || err == nil && strings.EqualFold(u.Hostname(), cloudHost) {
			p.API = CloudAPI
		}
		return p, nil
	case !remote.scm && p.API == "" && run.Forge != "bitbucket_dc":
		return Place{}, fmt.Errorf("the CI clones from %s, which is not known to be a Bitbucket: set PLUGIN_BITBUCKET_URL if it is one", remote.host)
	}
	p.DataCenter = true
	if p.API == "" {
		p.API = remote.base
	}
	if p.API == "" && strings.HasPrefix(run.ForgeURL, "https://") {
		p.API = strings.TrimRight(run.ForgeURL, "/")
	}
	if p.API == "" {
		return Place{}, fmt.Errorf("the address of %s is not known, or is not https: set PLUGIN_BITBUCKET_URL", remote.host)
	}
	return p, nil
}

// A remote is a clone URL taken apart.
type remote struct {
	host, owner, slug string
	base              string // of a Data Center, where https says it
	scm               bool   // the path is Data Center's
}

func readRemote(address string) (remote, error) {
	if address == "" {
		return remote{}, fmt.Errorf("the CI does not say where it clones from (DRONE_REMOTE_URL or CI_REPO_CLONE_URL)")
	}
	if host, path, scp := strings.Cut(address, ":"); scp && !strings.Contains(address, "://") {
		address = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return remote{}, fmt.Errorf("where the CI clones from (DRONE_REMOTE_URL or CI_REPO_CLONE_URL) is no address of a server")
	}
	r := remote{host: strings.ToLower(u.Hostname())}
	path := strings.Trim(u.Path, "/")
	if parts := strings.Split(path, "/"); len(parts) > 2 && parts[len(parts)-3] == "scm" && u.Scheme != "ssh" {
		r.scm, path = true, strings.Join(parts[len(parts)-2:], "/")
		if u.Scheme == "https" { // nobody's credential goes over plain HTTP unasked
			r.base = "https://" + u.Host + strings.TrimRight("/"+strings.Join(parts[:len(parts)-3], "/"), "/")
		}
	}
	owner, slug, _ := strings.Cut(path, "/")
	slug = strings.TrimSuffix(slug, ".git")
	if r.owner, r.slug = owner, slug; owner == "" || slug == "" || strings.Contains(slug, "/") {
		return remote{}, fmt.Errorf("the address that the CI clones from at %s (DRONE_REMOTE_URL or CI_REPO_CLONE_URL) is not of the form of Bitbucket's", r.host)
	}
	return r, nil
}
