package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/cli/cli/config"

	"slipway/config/secret"
	"slipway/runner/registry"
)

// A loginEntry is one login in the form of Woodpecker's docker-buildx.
// Source: https://woodpecker-ci.org/plugins/docker-buildx (multi registry push).
type loginEntry struct {
	Registry string   `json:"registry"`
	Username string   `json:"username"`
	Password string   `json:"password"`
	Email    string   `json:"email"` // registries do not use it
	Mirrors  []string `json:"mirrors"`

	AWSRegion string `json:"aws_region"`
	AWSKeyID  string `json:"aws_access_key_id"`
	AWSKey    string `json:"aws_secret_access_key"`
}

// parseLoginList reads the logins at several registries, each once. The errors show registries and no
// other value.
func (p *Plugin) parseLoginList(value secret.Secret) (all []Login, err error) {
	if value.IsZero() {
		return nil, nil
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(value.Reveal()), &raw); err != nil { // not wrapped: it may show a secret
		return nil, errors.New("PLUGIN_LOGINS is not a JSON list: set a list of entries with registry, username and " +
			"password, which the CI passes as JSON")
	}
	for i, text := range raw {
		origin := fmt.Sprintf("%s (entry %d)", loginsName, i+1)
		l, entryErr := p.parseLoginEntry(text, origin, i == 0)
		for _, other := range all {
			if entryErr == nil && other.Host == l.Host && !l.Anonymous() {
				entryErr = fmt.Errorf("%s and %s are both for %s: set each registry once",
					other.Origin, origin, l.Host)
			}
		}
		err = errors.Join(err, entryErr)
		if entryErr == nil && !l.Anonymous() {
			all = append(all, l)
		}
	}
	return all, err
}

// parseLoginEntry reads an entry. The first one may be anonymous.
func (p *Plugin) parseLoginEntry(text json.RawMessage, origin string, isFirst bool) (Login, error) {
	var e loginEntry
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Login{}, fmt.Errorf("%s %s", origin, describeShape(err))
	}
	l := newLogin(e.Username, e.Password, origin)
	l.Host = hubHost
	if e.Registry != "" {
		var err error
		if l.Host, err = registry.ParseHost(e.Registry); err != nil {
			return Login{}, fmt.Errorf("%s: registry: %w", origin, err)
		}
	}
	if err := p.addMirrors(origin, l.Host, e.Mirrors); err != nil {
		return Login{}, err
	}
	missing := ""
	switch {
	case l.Anonymous() && (e.AWSRegion != "" || e.AWSKeyID != "" || e.AWSKey != ""):
		return Login{}, p.setListedKey(e, l.Host, origin)
	case l.Anonymous() && isFirst:
		return l, nil
	case l.Username == "":
		missing = "username"
	case l.Password.IsZero():
		missing = "password"
	default:
		return l, nil
	}
	if p.DryRun {
		p.warn("%s: no login at %s: %s is not set", origin, l.Host, missing)
		return Login{}, nil
	}
	return Login{}, fmt.Errorf("%s, for %s, has no %s: set it; "+
		"a CI keeps secrets from pull requests and from steps that do not name them", origin, l.Host, missing)
}

// describeShape describes a malformed entry, and shows no value of it.
func describeShape(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field != "" {
		return kind.Field + " has the wrong type: put text in quotes, and several mirrors in a list"
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return "has " + name + ", which is unknown: set registry, username and password"
	}
	return "is not an object: set registry, username and password"
}

// addMirrors adds the mirrors of its registry that an entry has.
func (p *Plugin) addMirrors(origin, host string, mirrors []string) error {
	p.LocalBuilder.Mirrors = append(p.LocalBuilder.Mirrors, mirrorsOf(host, mirrors)...)
	return checkMirrors(origin+": mirrors", mirrors)
}

// configLogins reads the logins of Docker's config.json. It rejects credential helpers, because these
// programs are not in the image. The errors show registries and no other value.
// Source: https://docs.docker.com/reference/cli/docker/login/#credential-stores
func configLogins(text secret.Secret, origin string) (all []Login, err error) {
	if text.IsZero() {
		return nil, nil
	}
	file, err := config.LoadFromReader(strings.NewReader(text.Reveal()))
	switch {
	case err != nil: // not wrapped: it may show a secret
		return nil, fmt.Errorf("%s is not a config.json of Docker: set its content, for example "+
			"{\"auths\":{\"registry.example.com\":{\"auth\":\"…\"}}}, where auth is user:password in Base64", origin)
	case file.CredentialsStore != "":
		return nil, fmt.Errorf("%s names the credsStore %q, a program that this step does not have: "+
			"set a config.json with the logins in it, or PLUGIN_LOGINS", origin, file.CredentialsStore)
	case len(file.CredentialHelpers) > 0:
		return nil, fmt.Errorf("%s names credHelpers (for %s), programs that this step does not have: "+
			"set a config.json with the logins in it, or PLUGIN_LOGINS",
			origin, strings.Join(slices.Sorted(maps.Keys(file.CredentialHelpers)), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(file.AuthConfigs)) {
		auth := file.AuthConfigs[name]
		l := newLogin(auth.Username, auth.Password, fmt.Sprintf("%s (auths of %s)", origin, name))
		if auth.IdentityToken != "" { // replaces the user name, which Azure adds and no registry needs
			l.Username, l.Password = "", secret.New(auth.IdentityToken)
		}
		var hostErr error
		l.Host, hostErr = registry.ParseHost(name)
		l.Stored = true
		switch {
		case hostErr != nil:
			err = errors.Join(err, fmt.Errorf("%s: auths: %w", origin, hostErr))
		case auth.RegistryToken != "":
			err = errors.Join(err, fmt.Errorf(
				"%s has a registrytoken, which is for one request: set auth, or username and password", l.Origin))
		case l.Username != "" && l.Password.IsZero():
			err = errors.Join(err, fmt.Errorf("%s has no password", l.Origin))
		case l.Anonymous(): // docker login writes such an entry if a program keeps the login
		default:
			all = append(all, l)
		}
	}
	return all, err
}
