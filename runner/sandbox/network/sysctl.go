package network

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

const sysctls = "/proc/sys/net/"

// setSysctls sets values of the network namespace of this thread, for example "ipv4/ip_forward" = "1".
func setSysctls(values map[string]string) error {
	for name, value := range values {
		if err := os.WriteFile(sysctls+name, []byte(value), 0); err != nil {
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	return nil
}

// routerSysctls are the values of a router. versions are the IP versions of the machine.
func routerSysctls(versions []family) map[string]string {
	values := map[string]string{"ipv4/ip_forward": "1"}
	if hasIPv6(versions) {
		values["ipv6/conf/all/forwarding"] = "1"
		values["ipv6/conf/default/accept_dad"] = "0" // addresses are in use at once
	}
	return values
}

// memberSysctls are the values of a namespace on the bridge. Its programs have no capability in it, so
// they may listen on port 80 without one.
func memberSysctls(versions []family) map[string]string {
	values := map[string]string{"ipv4/ip_unprivileged_port_start": "0"}
	if hasIPv6(versions) {
		values["ipv6/conf/default/accept_dad"] = "0"
		values["ipv6/conf/default/accept_ra"] = "0"
	}
	return values
}

// ipVersions returns the IP versions of the kernel.
func ipVersions() []family {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return []family{ipv4}
	}
	return []family{ipv4, ipv6}
}

func hasIPv6(versions []family) bool { return len(versions) > 1 }

// hostHasIPv6 reports whether new interfaces of the host get IPv6 addresses.
func hostHasIPv6() bool {
	disabled, err := os.ReadFile(sysctls + "ipv6/conf/default/disable_ipv6")
	return err == nil && strings.TrimSpace(string(disabled)) == "0"
}

// forwardOnHost lets the host forward packets.
//
// When a host begins to forward IPv6, it ignores router advertisements and drops the routes that it got
// from them. Interfaces with accept_ra = 2 are exempt. So forwardOnHost first changes accept_ra from 1
// to 2.
// Source: https://docs.kernel.org/networking/ip-sysctl.html
func forwardOnHost(versions []family) error {
	if err := setUnlessSet("ipv4/ip_forward", "1"); err != nil {
		return err
	}
	if !hasIPv6(versions) {
		return nil
	}
	if isSet("ipv6/conf/all/forwarding", "1") {
		return nil
	}
	names, err := os.ReadDir(sysctls + "ipv6/conf")
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, name := range names {
		accept := "ipv6/conf/" + name.Name() + "/accept_ra"
		if !isSet(accept, "1") {
			continue
		}
		if err := setUnlessSet(accept, "2"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return setUnlessSet("ipv6/conf/all/forwarding", "1")
}

func isSet(name, value string) bool {
	now, err := os.ReadFile(sysctls + name)
	return err == nil && strings.TrimSpace(string(now)) == value
}

func setUnlessSet(name, value string) error {
	if isSet(name, value) {
		return nil
	}
	if err := os.WriteFile(sysctls+name, []byte(value), 0); err != nil {
		return fmt.Errorf("let this machine forward packets: %w: set sysctl net.%s=%s", err,
			strings.ReplaceAll(name, "/", "."), value)
	}
	return nil
}
