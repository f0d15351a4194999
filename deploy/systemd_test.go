package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/restart"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/service"
)

// systemdUnit returns the lines of a unit as "section key" -> values, e.g. "Service User" -> slipway.
func systemdUnit(t *testing.T, name string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found {
			t.Errorf("%s: got line %q, want KEY=VALUE", name, line)
		}
		values[section+" "+key] = append(values[section+" "+key], value)
	}
	return values
}

const (
	gatewayUnit = "slipway-gateway.service"
	serviceUnit = "slipway-builder-service.service"
	socketUnit  = "slipway.socket"
)

// The gateway has no rights on the machine, and the service keeps those that its builds need.
func TestUnitsHaveTheseOptions(t *testing.T) {
	for name, want := range map[string]map[string]string{
		gatewayUnit: {
			"Service User":                    "slipway",
			"Service CapabilityBoundingSet":   "",
			"Service AmbientCapabilities":     "",
			"Service NoNewPrivileges":         "yes",
			"Service ProtectSystem":           "strict",
			"Service ProtectHome":             "yes",
			"Service PrivateTmp":              "yes",
			"Service PrivateDevices":          "yes",
			"Service RestrictNamespaces":      "yes",
			"Service RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
			"Service SystemCallFilter":        "@system-service,~@privileged @resources",
			"Service SystemCallArchitectures": "native",
			"Service StateDirectory":          "slipway",
			"Service StateDirectoryMode":      "0700",
			"Unit Wants":                      "network-online.target slipway-builder-service.service",
			"Unit After":                      "network-online.target slipway-builder-service.service",
			"Service ExecStart":               "/usr/local/bin/slipway gateway",
			"Service ExecReload":              "/bin/kill -USR2 $MAINPID",
			"Service Sockets":                 socketUnit,
		},
		serviceUnit: {
			"Service RuntimeDirectory":     "slipway",
			"Service RuntimeDirectoryMode": "0711",
			"Service StateDirectory":       "slipway-builder",
			"Service StateDirectoryMode":   "0711",
			"Service KillMode":             "mixed",
			"Service Delegate":             "yes",
			"Service PrivateTmp":           "yes",
			"Service ExecStart":            "/usr/local/bin/slipway builder service",
		},
		socketUnit: {
			"Socket Service":            gatewayUnit,
			"Socket FileDescriptorName": restart.Public,
			"Socket ListenStream":       "8080",
			"Install WantedBy":          "sockets.target",
		},
	} {
		unit := systemdUnit(t, name)
		for key, value := range want {
			if got := strings.Join(unit[key], ","); got != value || unit[key] == nil {
				t.Errorf("%s: %s: got %q, want %q", name, key, got, value)
			}
		}
	}
	// Builds inherit a system call filter, and with masked files in /proc no sandbox can mount its own.
	for key := range systemdUnit(t, serviceUnit) {
		for _, breaks := range []string{
			"User", "NoNewPrivileges", "SystemCallFilter", "SystemCallArchitectures", "RestrictNamespaces",
			"PrivateDevices", "ProtectSystem", "ProtectControlGroups", "ProtectKernelTunables", "ProtectKernelLogs",
			"ProtectHostname", "ProtectClock", "ProtectProc", "LockPersonality", "RestrictSUIDSGID",
		} {
			if key == "Service "+breaks {
				t.Errorf("%s: got %s, want none, because builds or sandboxes fail with it", serviceUnit, breaks)
			}
		}
	}
}

// The units set only variables that the programs have, and both name the same socket.
func TestUnitsSetKnownVariables(t *testing.T) {
	var known []string
	for _, flag := range service.Command(service.LimitReader{Read: noLimits}).Flags {
		if documented, ok := flag.(cli.DocGenerationFlag); ok {
			known = append(known, documented.GetEnvVars()...)
		}
	}
	for _, setting := range config.GatewaySettings() {
		known = append(known, setting.Name)
	}
	sockets := map[string]string{}
	for _, name := range []string{gatewayUnit, serviceUnit} {
		for _, variable := range systemdUnit(t, name)["Service Environment"] {
			variable, value, _ := strings.Cut(variable, "=")
			if !slices.Contains(known, variable) {
				t.Errorf("%s: setting %s: got none in the program, want one", name, variable)
			}
			if strings.HasSuffix(value, ".sock") {
				sockets[name] = value
			}
		}
	}
	if sockets[gatewayUnit] != sockets[serviceUnit] || sockets[gatewayUnit] == "" {
		t.Errorf("sockets: got %v, want the same", sockets)
	}
}

func noLimits(*cli.Command) (cgroup.Settings, error) { return cgroup.Settings{}, nil }

// systemd accepts the units.
func TestUnitsAreValid(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip(
			"SKIPPED: the check of the units needs systemd-analyze, which is absent (Debian: apt-get install systemd)",
		)
	}
	var units []string
	for _, kind := range []string{"service", "socket"} {
		found, err := filepath.Glob("*/*." + kind)
		if err != nil || len(found) == 0 {
			t.Fatalf("units: got %v of kind %s, error %v, want 1 or more", found, kind, err)
		}
		units = append(units, found...)
	}
	dir := t.TempDir()
	var copies []string
	for _, path := range units {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// systemd-analyze wants the program to exist.
		text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/slipway", "/bin/true"))
		copied := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(copied, text, 0o600); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, copied)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, copies...)...).
		CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: got error %v and\n%s, want neither", err, out)
	}
}
