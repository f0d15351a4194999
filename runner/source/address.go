package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"slipway/config/netpolicy"
)

var (
	errNoKey  = errors.New("its address is ssh, and there is no key")
	errOurOwn = errors.New("it is an address of the build machine itself, or one that only the build machine reaches")
)

// scpLike is how git writes ssh addresses in short: git@bitbucket.org:acme/lib.git.
var scpLike = regexp.MustCompile(
	`^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^:/\\][^:\\]*|/[^/\\][^\\]*)$`,
)

// An address is where a submodule is.
type address struct {
	text string // as git takes it
	host string
	port string // of http and https
	ssh  bool
	own  bool // the build's own repository, which the proxy serves
}

// resolveAddress reads a submodule's url, which may be relative to where its tree is from.
// With a key, what is relative to Bitbucket Cloud is had by ssh: at Docker Hub, which cloned by
// ssh, it was, too.
// Source: https://git-scm.com/docs/gitmodules#Documentation/gitmodules.txt-submodulenameurl
func resolveAddress(base, given string, key bool) (address, error) {
	if strings.HasPrefix(given, "./") || strings.HasPrefix(given, "../") {
		u, err := url.Parse(inFull(base))
		if err != nil {
			return address{}, errors.New("its url is relative, and where its repository is from is no url")
		}
		u.Path, u.RawPath = path.Join(u.Path, given), ""
		if key && u.Host == "bitbucket.org" {
			u.Scheme, u.User = "ssh", url.User("git")
		}
		given = u.String()
	}
	given = inFull(given)
	u, err := url.Parse(given)
	switch {
	case err != nil || u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") || u.Path == "" || u.Opaque != "":
		return address{}, errors.New(
			"its url is none that can be fetched: use https://host/path, ssh://git@host/path or git@host:path",
		)
	case u.Scheme == "https", u.Scheme == "http":
		a := address{text: given, host: u.Hostname(), port: u.Port()}
		if a.port == "" {
			a.port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
		}
		return a, nil
	case u.Scheme == "ssh":
		return address{text: given, host: u.Hostname(), ssh: true}, nil
	}
	return address{}, fmt.Errorf("its url has %s://, and https, http and ssh are allowed", u.Scheme)
}

// inFull writes the short form of ssh addresses as a URL.
func inFull(given string) string {
	if parts := scpLike.FindStringSubmatch(given); parts != nil && !strings.Contains(given, "://") {
		return "ssh://" + parts[1] + parts[2] + "/" + strings.TrimPrefix(parts[3], "/")
	}
	return given
}

// pin looks the host up, refuses the build machine's own addresses, as ADD does, and has git use
// what was looked at: a name could lead elsewhere the next time. The host of the repository
// itself is what the gateway trusts.
func (a address) pin(ctx context.Context, origin string) ([]setting, error) {
	if u, err := url.Parse(origin); err == nil && u.Hostname() == a.host {
		return nil, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.host)
	if err != nil {
		return nil, nil //nolint:nilerr // git says so, too, or has a proxy that knows the name
	}
	var texts []string
	for _, ip := range found {
		ip = ip.Unmap()
		if err := (netpolicy.Policy{}).Check(ip); err != nil {
			return nil, fmt.Errorf("%w: %w", errOurOwn, err)
		}
		texts = append(texts, ip.String())
	}
	if _, err := netip.ParseAddr(a.host); a.ssh || err == nil {
		return nil, nil
	}
	return []setting{{"http.curloptResolve", a.host + ":" + a.port + ":" + strings.Join(texts, ",")}}, nil
}

// emptyPlace is the directory that git made for a submodule. Every part of its path must be
// one, and no link: a link could lead to where git keeps its own files.
func emptyPlace(dir, p string) (string, error) {
	if !filepath.IsLocal(p) || strings.Contains(p, `\`) {
		return "", errors.New("its path leads out of the repository")
	}
	place := dir
	for part := range strings.SplitSeq(filepath.Clean(p), "/") {
		place = filepath.Join(place, part)
		info, err := os.Lstat(place)
		if err != nil || !info.IsDir() || strings.EqualFold(part, ".git") {
			return "", errors.New("its path is no directory of the repository")
		}
	}
	entries, err := os.ReadDir(place)
	if err != nil || len(entries) > 0 {
		return "", errors.New("its path is no empty directory of the repository")
	}
	return place, nil
}

// explainSubmodule says which submodule it was and what mends it. What the network did may work
// in another attempt.
func explainSubmodule(shown string, a address, err error) error {
	where := a.text
	if u, parseErr := url.Parse(a.text); parseErr == nil {
		where = u.Redacted()
	}
	mend := ""
	switch {
	case errors.Is(err, errNoKey):
		mend = "set the environment variable SSH_PRIVATE of the automated build to a private key that may read it"
	case errors.Is(err, errHostKey):
		mend = "set the environment variable SSH_KNOWN_HOSTS of the automated build to what `ssh-keyscan " + a.host + "` prints, after you have compared it with what the server's owner publishes"
	case a.ssh && errors.Is(err, ErrUnauthorized):
		mend = "add the public half of SSH_PRIVATE there, as an access key or to an account that may read it"
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrNotFound):
		mend = "if it is private, give its url in .gitmodules as git@host:path, and set the environment variable SSH_PRIVATE of the automated build to a private key that may read it"
	case errors.Is(err, ErrCommitGone):
		mend = "push that commit to it, or commit another one"
	case errors.Is(err, errOurOwn):
		mend = "submodules are not fetched from there"
	case errors.Is(err, errRedirected):
		mend = "correct its url in .gitmodules"
	default:
		return fmt.Errorf("submodule %q (%s): %w", shown, where, err)
	}
	return fmt.Errorf("%w: %q (%s): %w; %s", ErrSubmodule, shown, where, err, mend)
}
