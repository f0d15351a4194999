package gitproxy_test

import (
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A clone of 16 MiB that do not compress, from the fake Bitbucket and through the proxy.
func BenchmarkClone(b *testing.B) {
	e := newEnv(b)
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 16<<20)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	e.push(map[string]string{"large": string(content)})
	address, err := url.Parse(e.repo.CloneURL())
	e.must(err)
	address.User = url.UserPassword("x-token-auth", e.current())
	for _, from := range []struct{ name, url string }{{"direct", address.String()}, {"proxy", e.url()}} {
		b.Run(from.name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				dir := filepath.Join(b.TempDir(), "work")
				cmd := exec.CommandContext(b.Context(), "git", "clone", "-q", "--bare", "--depth=1", from.url, dir)
				cmd.Env = []string{
					"PATH=" + os.Getenv("PATH"),
					"HOME=" + b.TempDir(),
					"GIT_CONFIG_NOSYSTEM=1",
					"GIT_CONFIG_COUNT=1",
					"GIT_CONFIG_KEY_0=http." + e.gateway.URL + "/.extraHeader",
					"GIT_CONFIG_VALUE_0=Authorization: Bearer " + e.token,
				}
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("git clone: %v\n%s", err, out)
				}
			}
		})
	}
}
