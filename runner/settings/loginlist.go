package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"slipway/config/secret"
	"slipway/runner/registry"
)

// A loginEntry is one login as Woodpecker's docker-buildx takes it.
// Source: https://woodpecker-ci.org/plugins/docker-buildx (multi registry push).
type loginEntry struct {
	Registry string   `json:"registry"`
	Username string   `json:"username"`
	Password string   `json:"password"`
	Email    string   `json:"email"` // registries do not ask for it
	Mirrors  []string `json:"mirrors"`

	AWSRegion string `json:"aws_region"`
	AWSKeyID  string `json:"aws_access_key_id"`
	AWSKey    string `json:"aws_secret_access_key"`
}

// loginList reads logins at several registries, each once. It shows no value but registries.
func (p *Plugin) loginList(value secret.Secret) (all []Login, err error) {
	if value.IsZero() {
		return nil, nil
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(value.Reveal()), &raw); err != nil { // which might show some of it
		return nil, errors.New(
			"PLUGIN_LOGINS is no JSON list: give a list of entries with registry, username and password, which the CI hands over as JSON",
		)
	}
	for i, text := range raw {
		origin := fmt.Sprintf("PLUGIN_LOGINS (entry %d)", i+1)
		l, entryErr := p.oneLogin(text, origin, i == 0)
		for _, other := range all {
			if entryErr == nil && other.Host == l.Host && !l.Anonymous() {
				entryErr = fmt.Errorf(
					"%s is for %s, and so is %s: give each registry once",
					origin,
					l.Host,
					other.Origin,
				)
			}
		}
		if err = errors.Join(err, entryErr); entryErr == nil && !l.Anonymous() {
			all = append(all, l)
		}
	}
	return all, err
}

// oneLogin reads an entry. The first may be anonymous.
func (p *Plugin) oneLogin(text json.RawMessage, origin string, isFirst bool) (Login, error) {
	var e loginEntry
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Login{}, fmt.Errorf("%s %s", origin, shapeOf(err))
	}
	l := credential(e.Username, e.Password, origin)
	if l.Host = hubHost; e.Registry != "" {
		var err error
		if l.Host, err = registry.ParseHost(e.Registry); err != nil {
			return Login{}, fmt.Errorf("%s: registry: %w", origin, err)
		}
	}
	if err := p.takeMirrors(origin, l.Host, e.Mirrors); err != nil {
		return Login{}, err
	}
	missing := ""
	switch {
	case l.Anonymous() && (e.AWSRegion != "" || e.AWSKeyID != "" || e.AWSKey != ""):
		return Login{}, p.noteKey(e, l.Host, origin)
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
		p.warn("%s: nobody is logged in at %s: there is no %s", origin, l.Host, missing)
		return Login{}, nil
	}
	return Login{}, fmt.Errorf(
		"%s, for %s, has no %s; a CI keeps secrets from pull requests and from steps that do not name them",
		origin,
		l.Host,
		missing,
	)
}

// shapeOf says what is wrong with an entry's form, and shows no value of it.
func shapeOf(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field != "" {
		return kind.Field + " is not of its kind: put text in quotes, and several mirrors in a list"
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return "has " + name + ", which no login has: give registry, username and password"
	}
	return "is no object: give registry, username and password"
}
