package attemptca

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// maxBundle bounds the system's bundle of certificates, in bytes. Debian's has 220 KiB.
const maxBundle = 8 << 20

// systemBundles are the files in which systems keep the certificates that programs trust: Debian
// and Alpine, Fedora and RHEL, openSUSE, Alpine's second name, RHEL's generated file.
// Source: https://go.dev/src/crypto/x509/root_linux.go
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
}

// javaBundles are the files in which systems keep Java's trusted certificates.
var javaBundles = []string{
	"/etc/ssl/certs/java/cacerts",
	"/etc/pki/ca-trust/extracted/java/cacerts",
	"/etc/pki/java/cacerts",
}

// variables name the bundle for programs that do not read the system's. Go, OpenSSL and curl read
// SSL_CERT_FILE, git reads GIT_SSL_CAINFO, and Node reads NODE_EXTRA_CA_CERTS. Python's requests reads
// REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE.
var variables = []string{
	"SSL_CERT_FILE",
	"GIT_SSL_CAINFO",
	"CURL_CA_BUNDLE",
	"REQUESTS_CA_BUNDLE",
	"NODE_EXTRA_CA_CERTS",
}

// dockerCerts is the directory in which Docker, skopeo, podman, buildah and regctl look for a registry's
// authority.
const dockerCerts = "/etc/docker/certs.d"

// A File is one file of the root file system that programs of the attempt see.
type File struct {
	Path    string // absolute
	Content []byte
	// Replace is true if the file is written only over an existing one. Which of the paths exist
	// depends on the distribution.
	Replace bool
}

// SystemBundle reads the system's trusted certificates in PEM form below a root file system ("/" is this
// machine's). It returns nothing if the system has none.
func SystemBundle(root string) ([]byte, error) {
	within, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("read the trusted certificates of %s: %w", root, err)
	}
	defer func() { _ = within.Close() }()
	for _, name := range systemBundles {
		text, err := readBounded(within, strings.TrimPrefix(name, "/"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the trusted certificates in %s: %w", name, err)
		}
		return text, nil
	}
	return nil, nil
}

func readBounded(root *os.Root, name string) ([]byte, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxBundle+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxBundle {
		return nil, fmt.Errorf("larger than %d bytes", maxBundle)
	}
	return text, nil
}

// Bundle returns the system's certificates with the authority's behind them, in PEM form.
func (a *Authority) Bundle(system []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(system) + len(a.pem) + 1)
	b.Write(system)
	if len(system) > 0 && system[len(system)-1] != '\n' {
		b.WriteByte('\n')
	}
	b.Write(a.pem)
	return b.Bytes()
}

// Environment returns the variables that name a file with the bundle, for example "SSL_CERT_FILE=/path".
func Environment(file string) []string {
	all := make([]string, 0, len(variables))
	for _, name := range variables {
		all = append(all, name+"="+file)
	}
	return all
}

// Files returns all files that make programs of the attempt trust the authority. These are the system's
// bundles and Java's, which replace existing files, and Docker's directory of each registry. A registry
// has the form "registry.example.com" or "registry.example.com:5000". Files fails for a registry that is
// not the name of a directory.
func (a *Authority) Files(system []byte, registries []string) ([]File, error) {
	bundle := a.Bundle(system)
	java := javaKeystore(bundle)
	var files []File
	for _, name := range systemBundles {
		files = append(files, File{Path: name, Content: bundle, Replace: true})
	}
	for _, name := range javaBundles {
		files = append(files, File{Path: name, Content: java, Replace: true})
	}
	for _, registry := range registries {
		if registry == "" || registry == "." || registry == ".." || strings.ContainsAny(registry, "/\x00") {
			return nil, fmt.Errorf("trust of the attempt: %q is not a registry: set host or host:port", registry)
		}
		files = append(files, File{Path: path.Join(dockerCerts, registry, "ca.crt"), Content: a.PEM()})
	}
	return files, nil
}
