package buildkit_test

import (
	"context"
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"slipway/config/identity"
	"slipway/config/loopback"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/runner/buildkit"
)

// command runs `slipway builder` with these arguments until it ends.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, append([]string{"builder"}, args...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// keys returns a directory of certificates for a builder on this machine, made by
// `slipway builder keys`.
func keys(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if out, err := command(t, "keys", dir, "--host", "127.0.0.1", "--host", "builder.example.com"); err != nil {
		t.Fatalf("builder keys: %v\n%s", err, out)
	}
	return dir
}

func client(t *testing.T, path string) identity.Identity {
	t.Helper()
	login, err := identity.Read(secret.New(path))
	if err != nil {
		t.Fatal(err)
	}
	return login
}

// A builder on TCP builds and pushes only for its clients.
func TestRemoteBuilder(t *testing.T) {
	needBuildKit(t)
	dir, address := keys(t), "tcp://"+must.Get[string](t)(loopback.FreeAddress(t.Context()))
	if out, err := command(t, "keys", dir, "--client", "revoked"); err != nil {
		t.Fatalf("builder keys: %v\n%s", err, out)
	}
	revoked := filepath.Join(dir, "revoked")
	fingerprint := client(t, filepath.Join(dir, "revoked.pem")).Fingerprint()
	if err := os.WriteFile(revoked, []byte(fingerprint+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := launch(
		t,
		t.TempDir(),
		"--address",
		address,
		"--tls",
		filepath.Join(dir, "server.pem"),
		"--revoked",
		revoked,
	)
	must.Eventually(
		t,
		"the builder is ready",
		func() bool { return strings.Contains(server.log.String(), "builder is ready") },
	)

	c, err := buildkit.Dial(t.Context(), address, client(t, filepath.Join(dir, "client.pem")))
	if err != nil {
		t.Fatalf("dial: %v\n%s", err, server.log)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN echo over TLS\n"})))
	r.Image = serveRegistry(t) + "/acme/app"
	image := build(t, c, r)
	if err := c.Push(t.Context(), r, image.Digest); err != nil {
		t.Fatal(err)
	}
	pull(t, r.Image, image.Digest)

	t.Run("another domain shares no cache", func(t *testing.T) {
		if out, err := command(t, "keys", dir, "--client", "other", "--domain", "other"); err != nil {
			t.Fatalf("builder keys: %v\n%s", err, out)
		}
		other, err := buildkit.Dial(t.Context(), address, client(t, filepath.Join(dir, "other.pem")))
		if err != nil {
			t.Fatalf("dial: %v\n%s", err, server.log)
		}
		defer func() { _ = other.Close() }()
		if got := build(t, other, r).Cached; got != 0 {
			t.Errorf("cached steps in another domain: got %d, want 0", got)
		}
		if got := build(t, c, r).Cached; got == 0 {
			t.Error("cached steps in the same domain: got 0, want some")
		}
	})

	out, err := command(t, "check", "--tls", filepath.Join(dir, "client.pem"), address)
	if err != nil {
		t.Errorf("check: %v\n%s", err, out)
	}
	if got := strings.Count(out, " linux/"+runtime.GOARCH); got != 1 {
		t.Errorf("check: got this machine's platform %d times, want once\n%s", got, out)
	}
	if !strings.Contains(out, "valid until") {
		t.Errorf("check: got:\n%s\nwant the end of the certificate's validity in it", out)
	}
	for name, login := range map[string]identity.Identity{
		"no certificate":                  {},
		"a client of another authority":   client(t, filepath.Join(keys(t), "client.pem")),
		"a revoked client":                client(t, filepath.Join(dir, "revoked.pem")),
		"the server's own certificate":    client(t, filepath.Join(dir, "server.pem")),
		"a client that trusts another CA": mixed(t, dir, keys(t)),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if c, err := buildkit.Dial(ctx, address, login); err == nil {
				_ = c.Close()
				t.Error("dial: got no error, want one")
			}
		})
	}
	t.Run("TLS 1.2", func(t *testing.T) {
		config := client(t, filepath.Join(dir, "client.pem")).Client()
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		dialer := tls.Dialer{Config: config}
		if conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "tcp://")); err == nil {
			_ = conn.Close()
			t.Error("dial: got no error, want one")
		}
	})
}

// mixed returns an identity with the certificate of one directory and the authority of another.
func mixed(t *testing.T, own, trusts string) identity.Identity {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(own, "client.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(trusts, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	const end = "-----END CERTIFICATE-----\n"
	cert, rest, _ := strings.Cut(string(text), end)
	_, key, _ := strings.Cut(rest, end)
	id, err := identity.Parse(secret.New(cert + end + string(ca) + key))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTCPNeedsCertificates(t *testing.T) {
	out, err := command(t, "--address", "tcp://127.0.0.1:0", "--state", t.TempDir(), "--network", "none")
	if err == nil || !strings.Contains(out, "slipway builder keys") {
		t.Errorf("builder: got error %v and output:\n%s\nwant an error that names slipway builder keys", err, out)
	}
}

func TestKeys(t *testing.T) {
	dir := keys(t)
	for name, mode := range map[string]os.FileMode{"ca.key": 0o600, "ca.pem": 0o644, "server.pem": 0o600, "client.pem": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: got mode %v, error %v, want %v", name, info, err, mode)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "keys", dir, "--host", "other.example.com", "--client", "client", "--client", "ci-2")
	if err != nil {
		t.Errorf("a second client: %v\n%s", err, out)
	}
	if got := strings.Count(out, " is unchanged, "); got != 2 {
		t.Errorf("a second client: got %d unchanged files, want 2\n%s", got, out)
	}
	if !strings.Contains(out, "ci-2.pem for its clients") {
		t.Errorf("a second client: got:\n%s\nwant its file in it", out)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "server.pem")); err != nil || string(after) != string(before) {
		t.Errorf("the server's certificate: got another one, or error %v, want the same", err)
	}
	if client(t, filepath.Join(dir, "ci-2.pem")).IsZero() {
		t.Error("identity of ci-2: got none, want one")
	}
}

func TestKeysRefuses(t *testing.T) {
	broken := keys(t)
	if err := os.Remove(filepath.Join(broken, "ca.key")); err != nil {
		t.Fatal(err)
	}
	empty := keys(t)
	if err := os.WriteFile(filepath.Join(empty, "x.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := keys(t)
	for want, args := range map[string][]string{
		"x.pem exists, and it is empty": {"keys", empty, "--client", "x"},
		"set one directory":             {"keys"},
		"set --host":                    {"keys", t.TempDir()},
		"--client is \"../x\"":          {"keys", t.TempDir(), "--host", "h", "--client", "../x"},
		"--client is \"ca\"":            {"keys", t.TempDir(), "--host", "h", "--client", "ca"},
		"--days is 0":                   {"keys", t.TempDir(), "--host", "h", "--days", "0"},
		"both files are":                {"keys", broken, "--client", "x"},
		"its cache domain is default":   {"keys", other, "--client", "client", "--domain", "acme"},
		"--domain is \"A\"":             {"keys", other, "--client", "y", "--domain", "A"},
		"set one address":               {"check"},
		"no/such.pem":                   {"check", "--tls", "no/such.pem", "tcp://127.0.0.1:1"},
		"does not answer":               {"check", "tcp://127.0.0.1:1"},
		"only clients with":             {"check", "tcp://builder.example.com:1"},
	} {
		if out, err := command(t, args...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%v: got error %v and output:\n%s\nwant an error and %q", args, err, out, want)
		}
	}
}
