// Package commitstatus reports the result of a step without a gateway to Bitbucket Cloud or Data
// Center. Find and Describe compute the repository and the status without I/O. Only Post makes a
// request.
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

// A Place is a repository on a Bitbucket server.
type Place struct {
	API         string // base URL of the API; the credential is sent only there
	DataCenter  bool   // false = Cloud
	Owner, Slug string // Owner is a workspace, or a project key (~name for a personal project)
}

// Find returns the repository of a run's commit. It uses the address that the CI clones from, and
// the base URL that the user set; empty = none. The error names the cause and the setting to change.
//
// Clone addresses: https://bitbucket.org/{workspace}/{slug}.git and {base}/scm/{project}/{slug}.git,
// or the same by SSH without the /scm.
func Find(run ci.Run, baseURL string) (Place, error) {
	remote, err := readRemote(run.RemoteURL)
	if err != nil {
		return Place{}, err
	}
	if strings.EqualFold(remote.owner, run.RepositoryOwner) {
		remote.owner = run.RepositoryOwner // Data Center's clone addresses have the project key in lower case
	}
	p := Place{Owner: remote.owner, Slug: remote.slug, API: strings.TrimRight(baseURL, "/")}
	switch {
	case remote.host == cloudHost || run.Forge == "bitbucket":
		if u, err := url.Parse(p.API); p.API == "" || err == nil && strings.EqualFold(u.Hostname(), cloudHost) {
			p.API = CloudAPI
		}
		return p, nil
	case !remote.scm && p.API == "" && run.Forge != "bitbucket_dc":
		return Place{}, fmt.Errorf("the CI clones from %s, which is not a known Bitbucket: "+
			"set PLUGIN_BITBUCKET_URL if it is one", remote.host)
	}
	p.DataCenter = true
	if p.API == "" {
		p.API = remote.base
	}
	if p.API == "" && strings.HasPrefix(run.ForgeURL, "https://") {
		p.API = strings.TrimRight(run.ForgeURL, "/")
	}
	if p.API == "" {
		return Place{}, fmt.Errorf(
			"the address of %s is unknown, or is not https: set PLUGIN_BITBUCKET_URL",
			remote.host,
		)
	}
	return p, nil
}

// A remote is a parsed clone address.
type remote struct {
	host, owner, slug string
	base              string // base URL of a Data Center, known only from an https address; else empty
	scm               bool   // the path contains /scm/, so the server is a Data Center
}

// readRemote parses a clone address: https, ssh, or the scp form host:path.
func readRemote(address string) (remote, error) {
	if address == "" {
		return remote{}, fmt.Errorf("the CI does not set the clone address (DRONE_REMOTE_URL or CI_REPO_CLONE_URL)")
	}
	if host, path, scp := strings.Cut(address, ":"); scp && !strings.Contains(address, "://") {
		address = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return remote{}, fmt.Errorf("the clone address (DRONE_REMOTE_URL or CI_REPO_CLONE_URL) has no host")
	}
	r := remote{host: strings.ToLower(u.Hostname())}
	path := strings.Trim(u.Path, "/")
	if parts := strings.Split(path, "/"); len(parts) > 2 && parts[len(parts)-3] == "scm" && u.Scheme != "ssh" {
		r.scm = true
		path = strings.Join(parts[len(parts)-2:], "/")
		if u.Scheme == "https" { // a credential goes over plain HTTP only if the user sets such an address
			r.base = "https://" + u.Host + strings.TrimRight("/"+strings.Join(parts[:len(parts)-3], "/"), "/")
		}
	}
	owner, slug, _ := strings.Cut(path, "/")
	slug = strings.TrimSuffix(slug, ".git")
	if owner == "" || slug == "" || strings.Contains(slug, "/") {
		return remote{}, fmt.Errorf("the clone address at %s (DRONE_REMOTE_URL or CI_REPO_CLONE_URL) "+
			"does not have the form of Bitbucket's addresses", r.host)
	}
	r.owner, r.slug = owner, slug
	return r, nil
}
