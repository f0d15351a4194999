package settings_test

import (
	"testing"

	"slipway/runner/settings"
)

func TestTheRegistriesOfABuildkitConfig(t *testing.T) {
	got := readPlugin(t, `PLUGIN_BUILDKIT_CONFIG=
debug = true
[worker.oci]
  max-parallelism = 4
[dns]
  nameservers = ["10.0.0.2"]
  searchDomains = ["corp.example.com"]
[registry."docker.io"]
  mirrors = ["mirror.example.com/hub"]
[registry."mirror.example.com"]
  http = true
[registry."r.example.com:5000"]
  mirrors = ["https://m.example.com"]
  insecure = true
  ca = ["/etc/ca.pem", "ci/ca.pem"]
  [[registry."r.example.com:5000".keypair]]
    key = "key.pem"
    cert = "cert.pem"
`)
	checkSame(t, "the builder", got.LocalBuilder, settings.LocalBuilder{
		Mirrors:   []string{"mirror.example.com/hub", "r.example.com:5000=https://m.example.com"},
		DNS:       []string{"10.0.0.2"},
		DNSSearch: []string{"corp.example.com"},
	})
	checkSame(t, "certificates", got.Certificates, []settings.Certificate{{
		Host:        "r.example.com:5000",
		Authorities: []string{"/etc/ca.pem", "ci/ca.pem"},
		Pairs:       []settings.KeyPair{{Certificate: "cert.pem", Key: "key.pem"}},
		Origin:      "PLUGIN_BUILDKIT_CONFIG: registry.r.example.com:5000",
	}})
	var insecure []string
	for _, l := range got.Logins {
		if l.Insecure {
			insecure = append(insecure, l.Host)
		}
	}
	checkSame(t, "registries with plain HTTP", insecure, []string{"mirror.example.com", "r.example.com:5000"})
	checkNotes(t, "notes", got.Warnings, "PLUGIN_BUILDKIT_CONFIG: not used: debug, worker; there is no buildkitd")
}

func TestSettingsPrecedeTheNameServersOfABuildkitConfig(t *testing.T) {
	got := readPlugin(t, "PLUGIN_CUSTOM_DNS=10.0.0.9", "PLUGIN_BUILDKIT_CONFIG=[dns]\nnameservers = [\"10.0.0.2\"]")
	checkSame(t, "name servers", got.LocalBuilder.DNS, []string{"10.0.0.9"})
	got = readPlugin(t, "PLUGIN_BUILDER=unix:///b.sock",
		"PLUGIN_BUILDKIT_CONFIG=[registry.\"docker.io\"]\nmirrors = [\"m.example.com\"]")
	checkNotes(t, "with a builder", got.Warnings, "not used: mirrors and dns of PLUGIN_BUILDKIT_CONFIG")
}

func TestFaultsOfABuildkitConfigNameTheKey(t *testing.T) {
	for text, want := range map[string]string{
		"[registry":                           "is not a buildkitd.toml: check line 1",
		"registry = 1":                        "is not a buildkitd.toml",
		"[registry.\"a b\"]\nhttp = true":     `"a b" is not the host of a registry`,
		"[registry.\"docker.io\"]\nhttp=true": "Docker Hub uses HTTPS",
		"[registry.\"r.example.com\"]\ntlsconfigdir=[\"canary\"]":                              "registry.r.example.com has tlsconfigdir",
		"[registry.\"r.example.com\"]\n[[registry.\"r.example.com\".keypair]]\nkey=\"canary\"": "keypair without key or cert",
		"[registry.\"r.example.com\"]\nmirrors=[\"ftp://m.example.com\"]":                      "mirrors is",
		"[dns]\noptions=[\"edns0\"]":                                                           "dns has options",
		"[dns]\nnameservers=[\"dns.example.com\"]":                                             "dns.nameservers has",
		"insecure-entitlements=[\"network.host\"]":                                             "has insecure-entitlements, and the step's own builder grants no rights",
		"proxyNetwork=true": "has proxyNetwork, which this step does not support",
		"typo=true":         "has typo",
	} {
		_, err := settings.ReadPlugin(plugin("PLUGIN_BUILDKIT_CONFIG=" + text))
		if err == nil {
			t.Errorf("%s: got no error, want %q", text, want)
			continue
		}
		checkError(t, text, err, want, "PLUGIN_BUILDKIT_CONFIG")
	}
}
