package source

import (
	"cmp"
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
	"strconv"
	"strings"

	"slipway/config/netpolicy"
)

var (
	errNoKey   = errors.New("its address uses ssh, and no key is set")
	errRefused = errors.New("builds may not connect to it")
)

// scpLike matches git's short form of ssh addresses: git@bitbucket.org:acme/lib.git.
var scpLike = regexp.MustCompile(
	`^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^:/\\][^:\\]*|/[^/\\][^\\]*)$`,
)

// An address is the parsed URL of a submodule.
type address struct {
	text string // URL for git
	host string
	port string // port of an http or https URL
	ssh  bool
	own  bool // the build's own repository, which the proxy serves
}

// resolveAddress parses a submodule's url. A relative one is resolved against base, the URL of its
// superproject. With a key, a relative url at Bitbucket Cloud becomes an ssh URL, because Docker Hub
// cloned by ssh.
// Source: https://git-scm.com/docs/gitmodules#Documentation/gitmodules.txt-submodulenameurl
func resolveAddress(base, given string, key bool) (address, error) {
	if strings.HasPrefix(given, "./") || strings.HasPrefix(given, "../") {
		u, err := url.Parse(expandSCP(base))
		if err != nil {
			return address{}, errors.New("its url is relative, and its repository has no url")
		}
		u.Path, u.RawPath = path.Join(u.Path, given), ""
		if key && u.Host == "bitbucket.org" {
			u.Scheme, u.User = "ssh", url.User("git")
		}
		given = u.String()
	}
	given = expandSCP(given)
	u, err := url.Parse(given)
	switch {
	case err != nil || u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") || u.Path == "" || u.Opaque != "":
		return address{}, errors.New(
			"its url cannot be fetched: use https://host/path, ssh://git@host/path or git@host:path",
		)
	case u.Scheme == "https", u.Scheme == "http":
		a := address{text: given, host: u.Hostname(), port: u.Port()}
		if a.port == "" {
			a.port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
		}
		return a, nil
	case u.Scheme == "ssh":
		return address{text: given, host: u.Hostname(), port: cmp.Or(u.Port(), "22"), ssh: true}, nil
	}
	return address{}, fmt.Errorf("its url has %s://: use https, http or ssh", u.Scheme)
}

// expandSCP converts the short form of ssh addresses to a URL, and returns other addresses unchanged.
func expandSCP(given string) string {
	if parts := scpLike.FindStringSubmatch(given); parts != nil && !strings.Contains(given, "://") {
		return "ssh://" + parts[1] + parts[2] + "/" + strings.TrimPrefix(parts[3], "/")
	}
	return given
}

// pin resolves the host and refuses the addresses that the policy refuses, as ADD does. It returns the
// setting that makes git connect to the checked addresses, because a second lookup could return others.
// The host of the repository itself is configured at the gateway and not checked.
func (a address) pin(ctx context.Context, origin string, policy netpolicy.Policy) ([]setting, error) {
	if u, err := url.Parse(origin); err == nil && u.Hostname() == a.host {
		return nil, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.host)
	if err != nil {
		return nil, nil //nolint:nilerr // git reports it as well, or uses a proxy that knows the name
	}
	number, err := strconv.ParseUint(a.port, 10, 16)
	if err != nil {
		number = 0 // git reports it
	}
	port := uint16(number)
	var texts []string
	for _, ip := range found {
		ip = ip.Unmap()
		if err := policy.CheckPort(netip.AddrPortFrom(ip, port)); err != nil {
			return nil, fmt.Errorf("%w: %w", errRefused, err)
		}
		texts = append(texts, ip.String())
	}
	if _, err := netip.ParseAddr(a.host); a.ssh || err == nil {
		return nil, nil
	}
	return []setting{{"http.curloptResolve", a.host + ":" + a.port + ":" + strings.Join(texts, ",")}}, nil
}

// emptyDir returns the directory that git made for a submodule. Every part of its path must be a
// directory and not a link: a link could lead to git's own files.
func emptyDir(dir, p string) (string, error) {
	if !filepath.IsLocal(p) || strings.Contains(p, `\`) {
		return "", errors.New("its path leads out of the repository")
	}
	place := dir
	for part := range strings.SplitSeq(filepath.Clean(p), "/") {
		place = filepath.Join(place, part)
		info, err := os.Lstat(place)
		if err != nil || !info.IsDir() || strings.EqualFold(part, ".git") {
			return "", errors.New("its path is not a directory of the repository")
		}
	}
	entries, err := os.ReadDir(place)
	if err != nil || len(entries) > 0 {
		return "", errors.New("its path is not an empty directory of the repository")
	}
	return place, nil
}

// explainSubmodule adds the submodule and the fix to an error. Errors of the network get no fix: another
// attempt may succeed.
func explainSubmodule(shown string, a address, err error) error {
	where := a.text
	if u, parseErr := url.Parse(a.text); parseErr == nil {
		where = u.Redacted()
	}
	fix := ""
	switch {
	case errors.Is(err, errNoKey):
		fix = "set the environment variable SSH_PRIVATE of the automated build to a private key that may read it"
	case errors.Is(err, errHostKey):
		fix = "set the environment variable SSH_KNOWN_HOSTS of the automated build to the output of `ssh-keyscan " + a.host + "`, after you have compared it with the keys that the server's owner publishes"
	case a.ssh && errors.Is(err, ErrUnauthorized):
		fix = "add the public half of SSH_PRIVATE there, as an access key or to an account that may read it"
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrNotFound):
		fix = "if it is private, set its url in .gitmodules to git@host:path, and the variable SSH_PRIVATE of the automated build to a private key that may read it"
	case errors.Is(err, ErrCommitGone):
		fix = "push that commit to it, or commit another one"
	case errors.Is(err, errRefused): // it names the fix
		return fmt.Errorf("%w: %q (%s): %w", ErrSubmodule, shown, where, err)
	case errors.Is(err, errRedirected):
		fix = "correct its url in .gitmodules"
	default:
		return fmt.Errorf("submodule %q (%s): %w", shown, where, err)
	}
	return fmt.Errorf("%w: %q (%s): %w; %s", ErrSubmodule, shown, where, err, fix)
}
