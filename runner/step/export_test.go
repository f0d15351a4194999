package step

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"slipway/runner/buildkit"
	"slipway/runner/settings"
)

// BuilderSettings describes the builder that a step with these settings starts, one line for each setting.
func BuilderSettings(t *testing.T, s settings.Plugin) []string {
	t.Helper()
	certs, remove, err := writeCertificates(s, nil)
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	defer remove()
	lines := localBuilderEnviron(s.LocalBuilder)
	if len(s.Certificates) > 0 {
		lines = append(lines, certificateLines(t, certs)...)
	}
	b := (run{s: s, o: Options{Environ: []string{}}}).localBuilder(buildkit.Request{})
	if b.Cache.Off {
		lines = append(lines, "cache off")
	}
	if b.Cache.Dir != "" {
		lines = append(lines, "cache in "+b.Cache.Dir)
	}
	for _, r := range b.Registries {
		lines = append(lines, "login "+r.Host+" "+r.Username)
		if r.Insecure {
			lines = append(lines, "plain HTTP "+r.Host)
		}
	}
	return lines
}

func certificateLines(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		inside, _ := filepath.Rel(dir, path)
		lines = append(lines, "certificate "+inside+" "+string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
