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

	"slipway/config/grammar"
	"slipway/config/secret"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// The settings of build arguments.
const (
	argsName         = "PLUGIN_BUILD_ARGS"
	argsNewName      = "PLUGIN_BUILD_ARGS_NEW"
	argsFromEnvName  = "PLUGIN_BUILD_ARGS_FROM_ENV"
	multipleArgsName = "PLUGIN_MULTIPLE_BUILD_ARGS"
)

// argValues are the settings of build arguments, from which Plugin.BuildArgs derives.
type argValues struct {
	several bool     // multiple_build_args: newArgs replace the arguments of build_args
	newArgs []string // NAME=value
	fromEnv []string // names of variables
}

// buildTable declares how the image is built. The settings are optional.
func buildTable() table.Table[stepReader] {
	return slices.Concat(argTable(), secretTable(), table.Table[stepReader]{
		{
			Name: "PLUGIN_ADD_HOST",
			Help: "host names for RUN: a list of name:address",
			Set:  (*stepReader).addHosts,
		},
		{
			Name: "PLUGIN_PULL_IMAGE", Default: "true",
			Help: "true: ask the registry for the newest base image, also if the builder has one",
			Set:  table.Bool(func(r *stepReader) *bool { return &r.Build.Pull }),
		},
		{
			Name: "PLUGIN_NO_CACHE", Default: "false",
			Help: "true: run every step of the Dockerfile again",
			Set:  table.Bool(func(r *stepReader) *bool { return &r.NoCache }),
		},
		{
			Name: "PLUGIN_NO_CACHE_FILTER", Aliases: []string{"PLUGIN_NO_CACHE_FILTERS"},
			Help: "stages of the Dockerfile to run again: a list in the form of docker build --no-cache-filter",
			Set:  table.List(func(r *stepReader) *[]string { return &r.Build.NoCacheStages }),
		},
		proxyRow("HTTP_PROXY", "proxy for RUN"),
		proxyRow("HTTPS_PROXY", "proxy for RUN"),
		proxyRow("NO_PROXY", "hosts that RUN reaches without a proxy"),
	})
}

func argTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: argsName, Masked: true,
			Help: "build arguments NAME=value: a comma list, a JSON list, or a JSON object of names and values",
			Set:  (*stepReader).setBuildArgs,
		},
		{
			Name: argsFromEnvName, Masked: true,
			Help: "build arguments that take their values from variables of the same name: a list; " +
				"the values are in the image's history, so name no secrets",
			Set: (*stepReader).setArgsFromEnv,
		},
		{
			Name: argsNewName, Masked: true, Needs: multipleArgsName,
			Help: "build arguments NAME=value, joined by semicolons; needs multiple_build_args",
			Set:  (*stepReader).setNewArgs,
		},
		{
			Name: multipleArgsName, Masked: true, Default: "false",
			Help: "true: use build_args_new, and ignore build_args",
			Set:  table.Bool(func(r *stepReader) *bool { return &r.args.several }),
		},
	}
}

// setBuildArgs reads build arguments as a list or as JSON objects. The errors show no value, because
// some values are secrets, though none should be.
func (r *stepReader) setBuildArgs(name, text string) error {
	objects, rest := takeObjects(text)
	args, err := table.ParseList(name, rest)
	all, pairsErr := parseArgs(name, args)
	err = errors.Join(err, pairsErr)
	for _, object := range objects {
		one, objectErr := table.ParseObject(name, object)
		err = errors.Join(err, objectErr)
		for _, arg := range slices.Sorted(maps.Keys(one)) {
			if !grammar.IsVariable(arg) {
				err = errors.Join(err, fmt.Errorf("%s has %q, which is not a name of a build argument", name, arg))
			}
		}
		maps.Copy(all, one)
	}
	r.BuildArgs = all
	return err
}

func (r *stepReader) setArgsFromEnv(name, text string) error {
	names, err := table.ParseList(name, text)
	for _, arg := range names {
		if !grammar.IsVariable(arg) {
			return fmt.Errorf("%s has %q, which is not a name of a variable", name, arg)
		}
	}
	r.args.fromEnv = names
	return err
}

func (r *stepReader) setNewArgs(_, text string) error {
	for arg := range strings.SplitSeq(text, ";") {
		if arg = strings.TrimSpace(arg); arg != "" {
			r.args.newArgs = append(r.args.newArgs, arg)
		}
	}
	return nil
}

// mergeBuildArgs sets the build arguments of the four settings.
func (r *stepReader) mergeBuildArgs() (err error) {
	if r.args.several {
		r.BuildArgs, err = parseArgs(argsNewName, r.args.newArgs)
		if r.Origins[argsName] == argsName {
			r.warn(
				"PLUGIN_BUILD_ARGS is not used: PLUGIN_MULTIPLE_BUILD_ARGS is true, so PLUGIN_BUILD_ARGS_NEW replaces it",
			)
		}
	}
	for _, name := range r.args.fromEnv {
		value, origin := firstSet(r.given, "", name, strings.ToUpper(name))
		if origin == Default {
			r.warn("the build argument %s is not set: the step's environment has no %s (PLUGIN_BUILD_ARGS_FROM_ENV)",
				name, name)
			continue
		}
		r.BuildArgs[name] = value
		r.BuildArgs[strings.ToUpper(name)] = value
	}
	return err
}

// parseArgs returns the build arguments NAME=value by name. setting is the variable, for the error.
func parseArgs(setting string, args []string) (map[string]string, error) {
	all := make(map[string]string, len(args))
	var err error
	for i, arg := range args {
		name, value, found := strings.Cut(arg, "=")
		if !found || !grammar.IsVariable(name) {
			err = errors.Join(err, entryError(setting, i))
			continue
		}
		all[name] = value
	}
	return all, err
}

// entryError is the error of the entry i, counted from 0, of a list of NAME=value.
func entryError(setting string, i int) error {
	return fmt.Errorf("%s: entry %d is not NAME=value (if a value contains a comma, use a JSON list)", setting, i+1)
}

// takeObjects separates JSON objects from a text that is one, or a JSON list of objects and strings. A
// CI makes such a list of maps that YAML merges into entries (- <<: *proxies).
func takeObjects(text string) (objects []string, rest string) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return []string{text}, ""
	}
	var entries []json.RawMessage
	if json.Unmarshal([]byte(text), &entries) != nil {
		return nil, text
	}
	entries = slices.DeleteFunc(entries, func(entry json.RawMessage) bool {
		if !strings.HasPrefix(string(entry), "{") {
			return false
		}
		objects = append(objects, string(entry))
		return true
	})
	if objects == nil {
		return nil, text
	}
	list, _ := json.Marshal(entries) // cannot fail: the entries were valid JSON
	return objects, string(list)
}

// addHosts reads name:address, as Docker's command line does, and name=address.
func (r *stepReader) addHosts(name, text string) error {
	entries, err := table.ParseList(name, text)
	for _, entry := range entries {
		at := strings.IndexAny(entry, ":=")
		if at <= 0 {
			return fmt.Errorf("%s has %q: set name:address", name, entry)
		}
		address, parseErr := netip.ParseAddr(strings.Trim(entry[at+1:], "[]"))
		if parseErr != nil || strings.ContainsAny(entry[:at], " ,\"") {
			return fmt.Errorf("%s has %q: set name:address with an IP address "+
				"(host-gateway is Docker's own, and there is no Docker here)", name, entry)
		}
		r.Build.Hosts = append(r.Build.Hosts, spec.Host{Name: entry[:at], Address: address})
	}
	return err
}

// proxyRow declares the setting of a proxy variable. Programs differ in whether they read the lower-case
// or the upper-case variable, so RUN gets both. The step itself uses its own variables, so they stay.
func proxyRow(variable, help string) table.Row[stepReader] {
	lower := strings.ToLower(variable)
	return table.Row[stepReader]{
		Name: table.Prefix + variable, Env: []string{lower, variable}, Secret: true, KeepEnv: true,
		Help: help,
		Set: func(r *stepReader, _, text string) error {
			value := secret.New(text)
			r.Build.Proxies = append(r.Build.Proxies,
				spec.Proxy{Name: variable, Value: value}, spec.Proxy{Name: lower, Value: value})
			return nil
		},
	}
}

// dropSetProxies removes the proxies that a build argument sets.
func (r *stepReader) dropSetProxies() {
	r.Build.Proxies = slices.DeleteFunc(r.Build.Proxies, func(p spec.Proxy) bool {
		return isGiven(r.BuildArgs, strings.ToUpper(p.Name)) || isGiven(r.BuildArgs, strings.ToLower(p.Name))
	})
}

// proxySecrets returns the proxies that hold a credential, and their passwords. The address alone is no
// secret.
func (p Plugin) proxySecrets() (all []secret.Secret) {
	for _, proxy := range p.Build.Proxies {
		if found := urlSecrets(proxy.Value.Reveal()); found != nil {
			all = append(append(all, proxy.Value), found...)
		}
	}
	return all
}

// contextSecrets returns the credentials in the addresses of named contexts. The user name of another scheme,
// for example ssh://git@…, is no secret.
func (p Plugin) contextSecrets() (all []secret.Secret) {
	for _, c := range p.Build.Contexts {
		if strings.HasPrefix(c.Source, "https://") || strings.HasPrefix(c.Source, "http://") {
			all = append(all, urlSecrets(c.Source)...)
		}
	}
	return all
}

// urlSecrets returns the credential in a URL, and its password; nil = there is none.
func urlSecrets(address string) []secret.Secret {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return nil
	}
	all := []secret.Secret{secret.New(u.User.String())}
	if password, ok := u.User.Password(); ok {
		all = append(all, secret.New(password))
	}
	return all
}
