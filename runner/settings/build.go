package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"slipway/config"
	"slipway/config/secret"
	"slipway/runner/spec"
)

const (
	sshKeyName = "PLUGIN_SSH_AGENT_KEY"
	argsName   = "PLUGIN_BUILD_ARGS"
)

// buildSecretNames are the settings of config.PluginBuild that no child may inherit.
func buildSecretNames() []string {
	return []string{sshKeyName, builderKeyName, "PLUGIN_HTTP_PROXY", "PLUGIN_HTTPS_PROXY", "PLUGIN_NO_PROXY"}
}

// readBuildOptions reads what the step tells its builder.
func (p *Plugin) readBuildOptions(raw config.PluginBuild, given map[string]string) error {
	p.Build.SSHKey = raw.SSHAgentKey
	var pullErr error
	p.Build.Pull, pullErr = trueFalse("PLUGIN_PULL_IMAGE", raw.PullImage)
	p.readProxies(given)
	return errors.Join(
		p.readSecrets(raw, given),
		p.readArgs(raw, given),
		p.readHosts(raw.AddHost),
		p.readCaches(raw),
		p.readLabels(raw),
		p.readOutput(raw),
		pullErr,
	)
}

// readArgs adds the build arguments of config.PluginBuild. It shows no value, for some hold
// secrets, though none should.
func (p *Plugin) readArgs(raw config.PluginBuild, given map[string]string) error {
	several, err := trueFalse("PLUGIN_MULTIPLE_BUILD_ARGS", raw.MultipleBuildArgs)
	switch {
	case several:
		var args []string
		for arg := range strings.SplitSeq(raw.BuildArgsNew, ";") {
			if arg = strings.TrimSpace(arg); arg != "" {
				args = append(args, arg)
			}
		}
		var argsErr error
		p.BuildArgs, argsErr = pairs("PLUGIN_BUILD_ARGS_NEW", args)
		err = errors.Join(err, argsErr)
		if p.Origins[argsName] == argsName {
			p.warn("PLUGIN_BUILD_ARGS is not used, PLUGIN_BUILD_ARGS_NEW is: PLUGIN_MULTIPLE_BUILD_ARGS is true")
		}
	case raw.BuildArgsNew != "":
		p.warn("PLUGIN_BUILD_ARGS_NEW is not used: PLUGIN_MULTIPLE_BUILD_ARGS is not true")
	}
	names, listErr := list("PLUGIN_BUILD_ARGS_FROM_ENV", raw.BuildArgsFromEnv)
	for _, name := range names {
		if !spec.LegalArg(name) {
			return errors.Join(err, fmt.Errorf("PLUGIN_BUILD_ARGS_FROM_ENV has %q, which is no variable's name", name))
		}
		value, origin := first(given, "", name, strings.ToUpper(name))
		if origin == Default {
			p.warn(
				"the build argument %s is not given: the step's environment has no %s (PLUGIN_BUILD_ARGS_FROM_ENV)",
				name,
				name,
			)
			continue
		}
		p.BuildArgs[name], p.BuildArgs[strings.ToUpper(name)] = value, value
	}
	return errors.Join(err, listErr)
}

// pairs makes build arguments of NAME=value.
func pairs(setting string, args []string) (map[string]string, error) {
	all := make(map[string]string, len(args))
	var err error
	for i, arg := range args {
		name, value, found := strings.Cut(arg, "=")
		if !found || !spec.LegalArg(name) {
			err = errors.Join(
				err,
				fmt.Errorf(
					"%s: entry %d is not NAME=value (where a value holds a comma, give a JSON list)",
					setting,
					i+1,
				),
			)
			continue
		}
		all[name] = value
	}
	return all, err
}

// takeObjects takes JSON objects out of a value that is one, or a list of them and of words: a
// CI makes such a list of maps that YAML merges into entries (- <<: *proxies).
func takeObjects(value string) (objects []string, rest string) {
	if value = strings.TrimSpace(value); strings.HasPrefix(value, "{") {
		return []string{value}, ""
	}
	var entries []json.RawMessage
	if json.Unmarshal([]byte(value), &entries) != nil {
		return nil, value
	}
	entries = slices.DeleteFunc(entries, func(entry json.RawMessage) bool {
		if !strings.HasPrefix(string(entry), "{") {
			return false
		}
		objects = append(objects, string(entry))
		return true
	})
	if objects == nil {
		return nil, value
	}
	text, _ := json.Marshal(entries) // what was read can be written
	return objects, string(text)
}

// object reads a JSON object, as Woodpecker makes of a map; numbers and true, false stay as
// they are written.
func object(setting, value string) (map[string]string, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(value), &raw); err != nil {
		return map[string]string{}, fmt.Errorf(
			"%s begins with { and is no JSON object: write {\"NAME\":\"value\"}, or NAME=value",
			setting,
		)
	}
	all := make(map[string]string, len(raw))
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		text := string(raw[name])
		switch {
		case strings.HasPrefix(text, `"`):
			_ = json.Unmarshal(raw[name], &text) // it is a string: the object was read
		case text == "null":
			text = ""
		case strings.ContainsAny(text[:1], "[{"):
			return all, fmt.Errorf("%s: the value of %q is no text", setting, name)
		}
		all[name] = text
	}
	return all, nil
}

// readHosts takes name:address, as Docker's command line does, and name=address.
func (p *Plugin) readHosts(value string) error {
	entries, err := list("PLUGIN_ADD_HOST", value)
	for _, entry := range entries {
		at := strings.IndexAny(entry, ":=")
		if at <= 0 {
			return fmt.Errorf("PLUGIN_ADD_HOST has %q: give name:address", entry)
		}
		address, parseErr := netip.ParseAddr(strings.Trim(entry[at+1:], "[]"))
		if parseErr != nil || strings.ContainsAny(entry[:at], " ,\"") {
			return fmt.Errorf(
				"PLUGIN_ADD_HOST has %q: give name:address with an IP address (host-gateway is Docker's own, and there is no Docker here)",
				entry,
			)
		}
		p.Build.Hosts = append(p.Build.Hosts, spec.Host{Name: entry[:at], Address: address})
	}
	return err
}

// readProxies gives RUN the step's proxies under both cases of their names, for programs
// differ in which they read.
func (p *Plugin) readProxies(given map[string]string) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		lower := strings.ToLower(name)
		value, origin := first(given, "", pluginPrefix+name, lower, name)
		p.Origins[pluginPrefix+name] = origin
		if value == "" || hasName(p.BuildArgs, name) || hasName(p.BuildArgs, lower) {
			continue // what build_args says goes before
		}
		p.Build.Proxies = append(
			p.Build.Proxies,
			spec.Proxy{Name: name, Value: secret.New(value)},
			spec.Proxy{Name: lower, Value: secret.New(value)},
		)
	}
}

// proxySecrets are the proxies that hold a credential, and their passwords. A proxy's address
// alone is none.
func (p Plugin) proxySecrets() (all []secret.Secret) {
	for _, proxy := range p.Build.Proxies {
		u, err := url.Parse(proxy.Value.Reveal())
		if err != nil || u.User == nil {
			continue
		}
		all = append(all, proxy.Value, secret.New(u.User.String()))
		if password, ok := u.User.Password(); ok {
			all = append(all, secret.New(password))
		}
	}
	return all
}

// warn has the log say what a setting does not do here.
func (p *Plugin) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}
