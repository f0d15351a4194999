package gitproxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// An upstream is a build's repository, accessed with the automated build's linked account.
type upstream struct {
	proxy      *Proxy
	account    autobuild.Connection
	repository autobuild.Repository
}

// repositoryOf returns the upstream of a build. It uses only stored data, and no part of the request.
func (p *Proxy) repositoryOf(ctx context.Context, build string) (*upstream, error) {
	b, err := p.o.Store.Build(ctx, build)
	if err != nil {
		return nil, refusalOf("load build "+build, err)
	}
	owner, err := p.o.Store.AutomatedBuild(ctx, b.AutomatedBuildID)
	if err != nil {
		return nil, refusalOf("load the automated build of "+build, err)
	}
	account, err := p.o.Connector.Connect(ctx, owner.AccountID)
	if err != nil {
		return nil, refusalOf("connect to "+b.Repository.FullName, err)
	}
	return &upstream{proxy: p, account: account, repository: b.Repository}, nil
}

// address returns the clone URL of the repository's current name.
func (u *upstream) address() (*url.URL, error) {
	text, err := u.account.Git.CloneURL(u.repository)
	if err != nil {
		return nil, refusalOf("find the address of "+u.repository.FullName, err)
	}
	address, err := url.Parse(text)
	if err != nil {
		return nil, refusalOf("find the address of "+u.repository.FullName, err)
	}
	return address, nil
}

// send sends a request to a path below the repository's address with a credential, which is valid for at
// least some minutes.
func (u *upstream) send(r *http.Request, call kind, c autobuild.GitCredential) (*http.Response, error) {
	address, err := u.address()
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(string(call), "?")
	address.Path, address.RawQuery = address.Path+path, query
	out := r.Clone(r.Context())
	out.URL, out.Host = address, address.Host
	out.SetBasicAuth(c.Username, c.Password.Reveal())
	resp, err := u.proxy.upstream.RoundTrip(out)
	if err != nil {
		return nil, retryLater(unavailable, retryAfter, err)
	}
	return resp, nil
}

// credential returns a valid git credential of the linked account.
func (u *upstream) credential(ctx context.Context) (autobuild.GitCredential, error) {
	c, err := u.account.Git.GitCredential(ctx, u.repository)
	if err != nil {
		return c, refusalOf("get the git credential of "+u.repository.FullName, err)
	}
	return c, nil
}

// sendOnce sends a request without a retry. Use it for requests with a body.
func (u *upstream) sendOnce(r *http.Request, call kind) (*http.Response, error) {
	c, err := u.credential(r.Context())
	if err != nil {
		return nil, err
	}
	return u.send(r, call, c)
}

// discover requests the repository's refs, which is the first request of every fetch. It renews the token
// once if it is rejected, and looks up the repository's name once if the repository moved. Both are done
// here, because git shows no reason if a later request fails.
func (u *upstream) discover(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	r = r.Clone(ctx)
	r.Body, r.ContentLength, r.TransferEncoding = http.NoBody, 0, nil // so that it can be sent again
	c, err := u.credential(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := u.send(r, discovery, c)
	if err != nil {
		return nil, err
	}
	if isRejected(resp.StatusCode) {
		discard(resp)
		c, err = u.account.Git.RenewGitCredential(ctx, u.repository, c.Password)
		if err != nil {
			return nil, refusalOf("renew the git credential of "+u.repository.FullName, err)
		}
		resp, err = u.send(r, discovery, c)
		if err != nil {
			return nil, err
		}
	}
	if !isMoved(resp.StatusCode) {
		return resp, nil
	}
	renamed, err := u.refreshName(ctx)
	if err != nil || !renamed {
		return resp, err
	}
	discard(resp)
	return u.send(r, discovery, c)
}

// refreshName looks up the repository's current name at the provider by its ids, and stores a rename. It
// reports whether the name changed.
func (u *upstream) refreshName(ctx context.Context) (renamed bool, err error) {
	r := u.repository
	if r.WorkspaceID == "" || !u.proxy.renames.Allow() {
		return false, nil
	}
	found, err := u.account.Repositories.Repository(ctx, r.WorkspaceID+"/"+r.ID)
	if err != nil {
		log := logctx.Log(ctx, u.proxy.o.Log).WithError(err).WithField("repository", r.ID)
		log.Debug("the name of a repository was not found")
		return false, nil // the caller returns the first response
	}
	if found.ID != r.ID || found.FullName == r.FullName {
		return false, nil
	}
	found.ProviderID = r.ProviderID
	if err := u.proxy.o.Store.RenameRepository(ctx, found); err != nil {
		return false, refusalOf(fmt.Sprintf("rename %s to %s", r.FullName, found.FullName), err)
	}
	log := logctx.Log(ctx, u.proxy.o.Log).WithField("repository", r.ID)
	log.Infof("repository %s was renamed to %s", r.FullName, found.FullName)
	u.repository = found
	return true, nil
}

// isRejected reports whether the provider rejected the credential. It returns 410 to retired kinds.
func isRejected(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusGone
}

// isMoved reports whether the repository may have been renamed: the response is a redirect or 404. Redirects
// are never followed, because they would send the credential to another address.
func isMoved(status int) bool {
	return status >= 300 && status < 400 || status == http.StatusNotFound
}

// discard reads the rest of a short response, so that its connection can be reused.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // an error only costs the connection
	resp.Body.Close()
}
