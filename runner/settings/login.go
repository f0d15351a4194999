package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/config/secret"
	"slipway/runner/registry"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// The settings of logins.
const (
	registryName    = "PLUGIN_REGISTRY"
	registryEnv     = "DOCKER_REGISTRY"
	userName        = "PLUGIN_USERNAME"
	passwordName    = "PLUGIN_PASSWORD"
	accessTokenName = "PLUGIN_ACCESS_TOKEN"
	accessTokenEnv  = "ACCESS_TOKEN"
	loginsName      = "PLUGIN_LOGINS"
	configName      = "PLUGIN_CONFIG"
	insecureName    = "PLUGIN_INSECURE"

	baseRegistryName = "PLUGIN_BASE_IMAGE_REGISTRY"
	baseUserName     = "PLUGIN_BASE_IMAGE_USERNAME"
	basePasswordName = "PLUGIN_BASE_IMAGE_PASSWORD" //nolint:gosec // the name of a variable
)

const (
	// hubHost is Docker Hub in the names of images.
	hubHost = "docker.io"
	// googleUser is the user name for an OAuth 2 token at Google's registries.
	// Source: https://cloud.google.com/artifact-registry/docs/docker/authentication#token
	googleUser = "oauth2accesstoken"
)

// loginValues are the settings from which the logins derive.
type loginValues struct {
	registry, user, password             string
	accessToken, list, config, jsonKey   secret.Secret
	baseRegistry, baseUser, basePassword string
	insecure                             string
}

// loginTable declares the logins. The names are those of plugins/docker and docker-buildx.
func loginTable() table.Table[loginValues] {
	return table.Table[loginValues]{
		{
			Name: registryName, Env: []string{registryEnv}, Unset: "the image's registry",
			Help: "registry of username and password, or the beginning of images' names",
			Set:  table.Text(func(l *loginValues) *string { return &l.registry }),
		},
		{
			Name: userName, Env: []string{"DOCKER_USERNAME"}, Unset: "anonymous",
			Help: "user name at the registry",
			Set:  table.Text(func(l *loginValues) *string { return &l.user }),
		},
		{
			Name: passwordName, Env: []string{"DOCKER_PASSWORD"}, Secret: true,
			Help: "password or token at the registry",
			Set:  table.Text(func(l *loginValues) *string { return &l.password }),
		},
		{
			Name: "PLUGIN_EMAIL", Help: "no effect: registries do not use it",
			NoEffect: "registries do not use it",
		},
		{
			Name: accessTokenName, Env: []string{accessTokenEnv}, Secret: true,
			Help: "in place of username and password: OAuth 2 access token, as for Google's registries",
			Set:  table.Secret(func(l *loginValues) *secret.Secret { return &l.accessToken }),
		},
		{
			Name: loginsName, Secret: true,
			Help: "logins at several registries: a JSON list of objects with registry, username and password",
			Set:  table.Secret(func(l *loginValues) *secret.Secret { return &l.list }),
		},
		{
			Name:    configName,
			Aliases: []string{"PLUGIN_DOCKER_CONFIG_JSON"},
			Env:     []string{"DOCKER_PLUGIN_CONFIG"},
			Secret:  true,
			Help:    "content of Docker's config.json; its auths are logins, too",
			Set:     table.Secret(func(l *loginValues) *secret.Secret { return &l.config }),
		},
		{
			Name: baseRegistryName, Aliases: []string{"PLUGIN_DOCKER_REGISTRY", "DOCKER_BASE_IMAGE_REGISTRY"},
			Help: "registry of base images (FROM) with a separate login",
			Set:  table.Text(func(l *loginValues) *string { return &l.baseRegistry }),
		},
		{
			Name: baseUserName, Aliases: []string{"PLUGIN_DOCKER_USERNAME", "DOCKER_BASE_IMAGE_USERNAME"},
			Help: "user name at the registry of base images",
			Set:  table.Text(func(l *loginValues) *string { return &l.baseUser }),
		},
		{
			Name: basePasswordName, Aliases: []string{"PLUGIN_DOCKER_PASSWORD", "DOCKER_BASE_IMAGE_PASSWORD"},
			Secret: true,
			Help:   "password or token at the registry of base images",
			Set:    table.Text(func(l *loginValues) *string { return &l.basePassword }),
		},
		{
			Name: insecureName, Default: "false",
			Help: "true: the registry (setting registry, else that of the first login, else the image's) " +
				"has plain HTTP, or a certificate that is not checked; or a list of such registries",
			Set: table.Text(func(l *loginValues) *string { return &l.insecure }),
		},
	}
}

// A Login is the step's login at one registry, for pushes and for base images and caches. Without user
// name and password it is anonymous, and only configures the connection. A password without a user
// name is an identity token (OAuth 2's refresh token).
type Login struct {
	spec.RegistryCredential
	Origin  string // the settings that it came from, for errors
	Stored  bool   // in a config.json, which may hold logins that the step does not need
	Trimmed bool   // the user name or the password ended with a line break, which is left out
}

// Anonymous reports whether the step sends no credential to the registry.
func (l Login) Anonymous() bool { return l.Username == "" && l.Password.IsZero() }

// newLogin returns a login without a registry. It leaves out line breaks at the end of the values: secrets
// that were stored from files have them, and `docker login --password-stdin` leaves them out, too.
func newLogin(user, password, origin string) Login {
	name := strings.TrimRight(user, "\r\n")
	value := secret.New(password).TrimLineBreaks()
	return Login{
		RegistryCredential: spec.RegistryCredential{Credential: spec.Credential{Username: name, Password: value}},
		Origin:             origin,
		Trimmed:            name != user || !value.Equal(secret.New(password)),
	}
}

// StepLogins are the logins of a step's settings, before the image is known.
type StepLogins struct {
	Main       Login // login of username and password; its Host follows from Named or from the image
	Named      string
	Several    []Login
	Base       Login // login for base images
	Configured []Login
	Insecure   string   // the value of PLUGIN_INSECURE
	Notes      []string // notes on settings that have no effect
}

// applyLogins reads the settings of logins. If several have a login for one registry, the first of this
// order counts: username and password, logins, the base image's, config. Docker's plugins also prefer
// username and password.
func (r *stepReader) applyLogins() error {
	l, err := r.parseLogins(r.login)
	err = errors.Join(err, r.useLogins(l), r.checkRegistry(l.Named))
	for _, host := range r.insecureHosts {
		r.markInsecure(host)
	}
	return err
}

// parseLogins reads the settings of logins. The errors show no secret.
func (p *Plugin) parseLogins(v loginValues) (StepLogins, error) {
	l := StepLogins{Insecure: v.insecure}
	var listErr, baseErr, configErr, registryErr, mainErr error
	l.Several, listErr = p.parseLoginList(v.list)
	l.Base, baseErr = p.baseLogin(v)
	l.Configured, configErr = configLogins(v.config, p.Origins[configName])
	if v.registry != "" {
		l.Named, registryErr = parseHost(p.Origins[registryName], v.registry)
	}
	l.Main, mainErr = p.mainLogin(v)
	return l, errors.Join(listErr, baseErr, configErr, registryErr, mainErr)
}

// parseHost reads the name of a registry. setting is the variable that it came from, for the error.
func parseHost(setting, text string) (string, error) {
	host, err := registry.ParseHost(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	return host, nil
}

// mainLogin reads user name and password, or an access token. The login has no Host yet.
func (p *Plugin) mainLogin(v loginValues) (Login, error) {
	user, password := p.Origins[userName], p.Origins[passwordName]
	token := p.chooseAccessToken(v)
	if v.password == "" && token != "" {
		origin := p.Origins[accessTokenName]
		if v.user != "" {
			p.warn("%s is not used, because %s is set: the user of an access token is %s", user, origin, googleUser)
		}
		return newLogin(googleUser, token, origin), nil
	}
	if !v.jsonKey.IsZero() {
		if v.user == "" && v.password == "" {
			return newLogin(jsonKeyUser, v.jsonKey.Reveal(), jsonKeyName), nil
		}
		p.warn("%s is not used, because %s or %s is set", jsonKeyName, user, password)
	}
	return p.checkPair(newLogin(v.user, v.password, user+" and "+password), userName, passwordName)
}

// chooseAccessToken returns the access token to use, or "". The variable ACCESS_TOKEN, which
// plugins/docker reads, may belong to any program. So it only counts for Google's registries, which
// accept such tokens.
func (p *Plugin) chooseAccessToken(v loginValues) string {
	if p.Origins[accessTokenName] != accessTokenEnv {
		return v.accessToken.Reveal()
	}
	host, err := registry.ParseHost(v.registry)
	if err == nil && isGoogle(host) || v.registry == "" && slices.ContainsFunc(p.Images, isGoogle) {
		return v.accessToken.Reveal()
	}
	p.Origins[accessTokenName] = Default
	return ""
}

// isGoogle reports whether a name begins with one of Google's registries.
func isGoogle(name string) bool {
	host := grammar.ImageHost(name)
	return host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") || strings.HasSuffix(host, "-docker.pkg.dev")
}

// baseLogin reads the login for base images. Without a registry, the login is not used, as in plugins/docker.
func (p *Plugin) baseLogin(v loginValues) (Login, error) {
	if v.baseRegistry == "" {
		if v.baseUser+v.basePassword != "" {
			p.warn("the login for base images is not used: " +
				"PLUGIN_BASE_IMAGE_REGISTRY is not set")
		}
		return Login{}, nil
	}
	host, err := parseHost(p.Origins[baseRegistryName], v.baseRegistry)
	if err != nil {
		return Login{}, err
	}
	origin := p.Origins[baseUserName] + " and " + p.Origins[basePasswordName]
	l, err := p.checkPair(newLogin(v.baseUser, v.basePassword, origin), baseUserName, basePasswordName)
	l.Host = host
	return l, err
}

// checkPair rejects a login without a user name or without a password, because the requests that it is
// for would be anonymous. A CI keeps secrets from pull requests, so a dry run only notes it: it needs
// no login to push.
func (p *Plugin) checkPair(l Login, userSetting, passwordSetting string) (Login, error) {
	missing, given := "", ""
	switch {
	case l.Anonymous() || l.Username != "" && !l.Password.IsZero():
		return l, nil
	case l.Username == "":
		missing, given = userSetting, p.Origins[passwordSetting]
	default:
		missing, given = passwordSetting, p.Origins[userSetting]
	}
	if p.DryRun {
		p.warn("no login from %s: %s is not set", given, missing)
		return Login{}, nil
	}
	return Login{}, fmt.Errorf("%s is set without %s: set both; "+
		"a CI keeps secrets from pull requests and from steps that do not name them", given, missing)
}
