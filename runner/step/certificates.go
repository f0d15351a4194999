package step

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caarlos0/env/v11"

	"slipway/config/grammar"
	"slipway/runner/registry"
	"slipway/runner/sandbox"
	"slipway/runner/settings"
	"slipway/runner/source"
)

// certsSetting is the variable of `slipway builder` for the directory of registries' certificates.
const certsSetting = "SLIPWAY_BUILDER_CERTS"

// maxCertificate bounds one file of a certificate or key, in bytes.
const maxCertificate = 1 << 20

// writeCertificates copies the certificates of the settings and the machine's own into a temporary directory,
// in Docker's layout. The step and the builder that it starts read them there. Without certificates in the
// settings, dir is the machine's directory. remove deletes the copies.
func writeCertificates(s settings.Plugin, environ []string) (dir string, remove func(), err error) {
	own := cmp.Or(env.ToMap(environ)[certsSetting], registry.CertsDir)
	if len(s.Certificates) == 0 {
		return own, func() {}, nil
	}
	temp, remove, err := sandbox.MakeTempDir("")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for certificates: %w: set TMPDIR to a writable directory", err)
	}
	dir = filepath.Join(temp, "certs.d")
	if err = copyCertificates(own, dir); err == nil {
		for _, one := range s.Certificates {
			err = errors.Join(err, addCertificate(one, s.Workspace, dir))
		}
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}

// copyCertificates copies the files of each registry. Kubernetes mounts them as links, so it reads them.
func copyCertificates(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "*", "*"))
	if err != nil {
		return fmt.Errorf("find the certificates in %s: %w", from, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if info, statErr := os.Stat(file); errors.Is(err, fs.ErrNotExist) || statErr == nil && info.IsDir() {
			continue
		}
		if err != nil {
			return fmt.Errorf("read a certificate: %w", err)
		}
		name := filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
		if err := writeFile(filepath.Join(to, name), content); err != nil {
			return err
		}
	}
	return nil
}

// addCertificate adds the files of one registry to dir.
func addCertificate(c settings.Certificate, workspace, dir string) error {
	type file struct{ path, name string }
	var files []file
	for i, path := range c.Authorities {
		files = append(files, file{path, fmt.Sprintf("setting-%d.crt", i)})
	}
	for i, pair := range c.Pairs {
		files = append(files,
			file{pair.Certificate, fmt.Sprintf("setting-%d.cert", i)}, file{pair.Key, fmt.Sprintf("setting-%d.key", i)})
	}
	for _, one := range files {
		content, err := source.ReadFile(workspace, one.path, maxCertificate)
		if err != nil {
			return fmt.Errorf("%s: the file %s %w", c.Origin, one.path, err)
		}
		for _, host := range certificateHosts(c.Host) {
			if err := writeFile(filepath.Join(dir, host, one.name), content); err != nil {
				return err
			}
		}
	}
	return nil
}

// certificateHosts returns the names of the directories that hold the certificates of a registry. Docker Hub
// has one name in images and another in requests.
func certificateHosts(host string) []string {
	if grammar.ImageHost(host) == hubHost {
		return []string{host, "index.docker.io", "registry-1.docker.io"}
	}
	return []string{host}
}

func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("copy a certificate: %w", err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil { //nolint:gosec // below a directory of this step
		return fmt.Errorf("copy a certificate: %w", err)
	}
	return nil
}
