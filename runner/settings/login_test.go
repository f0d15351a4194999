package settings_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/settings"
)

// known returns a line for each login: registry, user, password and setting.
func known(p settings.Plugin) []string {
	all := []string{}
	for _, l := range p.Logins {
		line := fmt.Sprintf("%s %s:%s %s", l.Host, l.Username, l.Password.Reveal(), l.Origin)
		if l.Insecure {
			line += " insecure"
		}
		all = append(all, line)
	}
	return all
}

func auth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

const (
	hubURL = "https://index.docker.io/v1/"
	mainIs = " ci:pw PLUGIN_USERNAME and PLUGIN_PASSWORD"
)

func TestWhichRegistryALoginIsFor(t *testing.T) {
	ci := []string{"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=pw"}
	for name, c := range map[string]struct {
		environ []string
		want    []string
	}{
		"the image's":             {append(ci, "PLUGIN_REPO=ghcr.io/acme/app"), []string{"ghcr.io" + mainIs}},
		"Docker Hub's":            {append(ci, "PLUGIN_REPO=acme/app"), []string{"docker.io" + mainIs}},
		"Docker Hub's own name":   {append(ci, "PLUGIN_REPO=acme/app", "PLUGIN_REGISTRY="+hubURL), []string{"docker.io" + mainIs}},
		"the first image's":       {append(ci, "PLUGIN_REPO=ghcr.io/acme/app,quay.io/acme/app"), []string{"ghcr.io" + mainIs}},
		"Docker Hub's, of images": {append(ci, "PLUGIN_REPO=ghcr.io/acme/app,acme/app"), []string{"docker.io" + mainIs}},
		"the one without a login": {
			append(ci, `PLUGIN_REPO=["ghcr.io/acme/app","quay.io/acme/app"]`, logins("ghcr.io")),
			[]string{"quay.io" + mainIs, "ghcr.io robot1:pw1 PLUGIN_LOGINS (entry 1)"},
		},
		"no image's": {
			append(ci, "PLUGIN_REPO=ghcr.io/acme/app", `PLUGIN_CONFIG={"auths":{"ghcr.io":{"auth":"`+auth("bot", "p:w")+`"}}}`),
			[]string{"docker.io" + mainIs, "ghcr.io bot:p:w PLUGIN_CONFIG (auths of ghcr.io)"},
		},
		"a base image's, by registry": {
			append(ci, "PLUGIN_REPO=acme/app", "PLUGIN_REGISTRY=quay.io", logins(hubURL)),
			[]string{"quay.io" + mainIs, "docker.io robot1:pw1 PLUGIN_LOGINS (entry 1)"},
		},
		"variables of the plugins": {
			[]string{
				"PLUGIN_REPO=quay.io/acme/app", "DOCKER_USERNAME=ci", "DOCKER_PASSWORD=pw", "DOCKER_REGISTRY=quay.io", `DOCKER_PLUGIN_CONFIG={"auths":{"` + hubURL + `":{"username":"u","password":"p"}}}`,
				"DOCKER_BASE_IMAGE_REGISTRY=ghcr.io", "PLUGIN_DOCKER_USERNAME=base", "PLUGIN_BASE_IMAGE_PASSWORD=pw",
			},
			[]string{
				"quay.io ci:pw DOCKER_USERNAME and DOCKER_PASSWORD", "ghcr.io base:pw PLUGIN_DOCKER_USERNAME and PLUGIN_BASE_IMAGE_PASSWORD",
				"docker.io u:p DOCKER_PLUGIN_CONFIG (auths of " + hubURL + ")",
			},
		},
		"an identity token": {
			[]string{`PLUGIN_CONFIG={"auths":{"a.azurecr.io":{"auth":"` + auth("00000000-0000-0000-0000-000000000000", "") + `","identitytoken":"tok"},"empty.example.com":{}}}`},
			[]string{"a.azurecr.io :tok PLUGIN_CONFIG (auths of a.azurecr.io)"},
		},
		"Google's token":          {[]string{"PLUGIN_REPO=eu.gcr.io/acme/app", "ACCESS_TOKEN=tok"}, []string{"eu.gcr.io oauth2accesstoken:tok ACCESS_TOKEN"}},
		"a token of the registry": {[]string{"PLUGIN_REPO=app", "PLUGIN_DRY_RUN=true", "PLUGIN_REGISTRY=eu-docker.pkg.dev", "ACCESS_TOKEN=tok"}, []string{"eu-docker.pkg.dev oauth2accesstoken:tok ACCESS_TOKEN"}},
		"anybody's ACCESS_TOKEN":  {[]string{"ACCESS_TOKEN=tok"}, []string{}},
		"a password and a token":  {append(ci, "PLUGIN_REPO=gcr.io/acme/app", "ACCESS_TOKEN=tok"), []string{"gcr.io" + mainIs}},
		"the setting's token":     {[]string{"PLUGIN_ACCESS_TOKEN=tok"}, []string{"registry.example.com oauth2accesstoken:tok PLUGIN_ACCESS_TOKEN"}},
		"one registry, many settings": {
			append(ci, "PLUGIN_REPO=ghcr.io/acme/app", "PLUGIN_REGISTRY=ghcr.io", logins("ghcr.io"), "PLUGIN_BASE_IMAGE_REGISTRY=https://ghcr.io/v2/",
				"PLUGIN_BASE_IMAGE_USERNAME=b", "PLUGIN_BASE_IMAGE_PASSWORD=b", `PLUGIN_CONFIG={"auths":{"https://ghcr.io":{"username":"u","password":"p"}}}`),
			[]string{"ghcr.io" + mainIs},
		},
		"the Hub's, which logins have, too": {
			append(ci, `PLUGIN_REPO=["acme/app","a.example.com:5050/app"]`, logins(hubURL)),
			[]string{"docker.io" + mainIs},
		},
		"another setting's user and password": {
			append(ci, `PLUGIN_REPO=["ghcr.io/acme/app","quay.io/acme/app"]`,
				`PLUGIN_LOGINS=[{"registry":"ghcr.io","username":"ci","password":"pw"}]`),
			[]string{"ghcr.io" + mainIs},
		},
		"another setting's user, and not its password": {
			append(ci, `PLUGIN_REPO=["ghcr.io/acme/app","quay.io/acme/app"]`,
				`PLUGIN_LOGINS=[{"registry":"ghcr.io","username":"ci","password":"pw2"}]`),
			[]string{"quay.io" + mainIs, "ghcr.io ci:pw2 PLUGIN_LOGINS (entry 1)"},
		},
		"the base image's user and password": {
			append(ci, "PLUGIN_REPO=a.example.com:5050/app", "PLUGIN_BASE_IMAGE_REGISTRY=docker.io",
				"PLUGIN_BASE_IMAGE_USERNAME=ci", "PLUGIN_BASE_IMAGE_PASSWORD=pw"),
			[]string{"docker.io" + mainIs},
		},
		"Google's token, beside an image of Docker Hub": {
			[]string{"PLUGIN_REPO=acme/app,gcr.io/acme/app", "ACCESS_TOKEN=tok"},
			[]string{"gcr.io oauth2accesstoken:tok ACCESS_TOKEN"},
		},
		"Google's key, beside an image of Docker Hub": {
			[]string{"PLUGIN_REPO=acme/app,gcr.io/acme/app", "PLUGIN_USERNAME=_json_key", "PLUGIN_PASSWORD=pw"},
			[]string{"gcr.io _json_key:pw PLUGIN_USERNAME and PLUGIN_PASSWORD"},
		},
		"Amazon's password, beside an image of Docker Hub": {
			[]string{
				"PLUGIN_REPO=acme/app,123456789012.dkr.ecr.eu-west-1.amazonaws.com/app",
				"PLUGIN_USERNAME=AWS", "PLUGIN_PASSWORD=pw",
			},
			[]string{
				"123456789012.dkr.ecr.eu-west-1.amazonaws.com AWS:pw PLUGIN_USERNAME and PLUGIN_PASSWORD",
			},
		},
		"a path within a registry": {
			append(ci, "PLUGIN_REPO=ghcr.io/acme/app", logins("ghcr.io/other")),
			[]string{"ghcr.io" + mainIs, "ghcr.io/other robot1:pw1 PLUGIN_LOGINS (entry 1)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := plugin(c.environ...)
			p, err := settings.ReadPlugin(e)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, known(p)); diff != "" {
				t.Errorf("logins (-want +got):\n%s", diff)
			}
			for _, l := range p.Logins {
				if !slices.ContainsFunc(p.Secrets(), l.Password.Equal) {
					t.Errorf("secrets of the log: got no password for %s, want it", l.Host)
				}
			}
			for _, line := range e.lines {
				if name, value, _ := strings.Cut(
					line,
					"=",
				); strings.Contains(value, "pw") &&
					!slices.Contains(e.removed, name) {
					t.Errorf("environment: got %s, want it removed", name)
				}
			}
		})
	}
}

// logins is the setting with a login for each of these.
func logins(registries ...string) string {
	all := make([]string, len(registries))
	for i, r := range registries {
		all[i] = fmt.Sprintf(
			`{"registry":%q,"username":"robot%d","password":"pw%d","email":"a@example.com"}`,
			r,
			i+1,
			i+1,
		)
	}
	return "PLUGIN_LOGINS=[" + strings.Join(all, ",") + "]"
}

func TestAnImageHasTheLoginOfItsLongestBeginning(t *testing.T) {
	p, err := settings.ReadPlugin(
		plugin(
			"PLUGIN_REPO=ghcr.io/acme/app,ghcr.io/team/app,acme/app,quay.io/xx",
			logins("ghcr.io", "ghcr.io/team", hubURL),
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"robot1", "robot2", "robot3", ""} {
		if got := p.LoginFor(p.Images[i]); got.Username != want {
			t.Errorf("user for %s: got %q, want %q", p.Images[i], got.Username, want)
		}
	}
}

// The password for an insecure registry is sent in clear text, so no other registry may be marked.
func TestWhichRegistriesUsePlainHTTP(t *testing.T) {
	for setting, want := range map[string][]string{
		"false": {"a.example.com:5000 robot1:pw1 PLUGIN_LOGINS (entry 1)", "docker.io robot2:pw2 PLUGIN_LOGINS (entry 2)"},
		"true":  {"a.example.com:5000 robot1:pw1 PLUGIN_LOGINS (entry 1) insecure", "docker.io robot2:pw2 PLUGIN_LOGINS (entry 2)"},
		"b.example.com": {
			"a.example.com:5000 robot1:pw1 PLUGIN_LOGINS (entry 1)", "docker.io robot2:pw2 PLUGIN_LOGINS (entry 2)", "b.example.com :  insecure",
		},
		"a.example.com:5000,docker.io": {
			"a.example.com:5000 robot1:pw1 PLUGIN_LOGINS (entry 1) insecure", "docker.io robot2:pw2 PLUGIN_LOGINS (entry 2)",
		},
	} {
		p, err := settings.ReadPlugin(
			plugin(
				"PLUGIN_REPO=a.example.com:5000/app,b.example.com/app,acme/app",
				logins("a.example.com:5000", hubURL),
				"PLUGIN_INSECURE="+setting,
			),
		)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, known(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", setting, diff)
		}
	}
}

func TestWithoutALoginInsecureIsOfTheFirstImage(t *testing.T) {
	base := `{"auths":{"quay.io":{"username":"u","password":"p"}}}`
	const read = "quay.io u:p PLUGIN_CONFIG (auths of quay.io)"
	for repo, want := range map[string][]string{"a.example.com/app,b.example.com/app": {read, "a.example.com :  insecure"}, "acme/app": {read}} {
		p := readPlugin(t, "PLUGIN_REPO="+repo, "PLUGIN_INSECURE=true", "PLUGIN_CONFIG="+base)
		checkSame(t, repo, known(p), want)
		checkEqual(t, repo+": number of notes", len(p.Warnings), 2-len(want))
	}
}

func TestFaultsOfLoginsNameTheSetting(t *testing.T) {
	checkFaults(t, func(line string) error {
		_, err := settings.ReadPlugin(plugin(strings.Split(line, " && ")...))
		return err
	}, map[string]string{
		"PLUGIN_LOGINS=canary": "PLUGIN_LOGINS is not a JSON list",
		`PLUGIN_LOGINS={"registry":"ghcr.io","password":"canary"}`:                                          "PLUGIN_LOGINS is not a JSON list",
		`PLUGIN_LOGINS=["canary"]`:                                                                          "PLUGIN_LOGINS (entry 1) is not an object",
		`PLUGIN_LOGINS=[{"registry":"ghcr.io","username":6543,"password":"canary"}]`:                        "PLUGIN_LOGINS (entry 1) username has the wrong type: put text in quotes",
		`PLUGIN_LOGINS=[{"registry":"ghcr.io","user":"a","password":"canary"}]`:                             `PLUGIN_LOGINS (entry 1) has "user", which is unknown`,
		`PLUGIN_LOGINS=[{"registry":"ghcr.io"},{"registry":"quay.io","username":"a"}]`:                      "PLUGIN_LOGINS (entry 2), for quay.io, has no password",
		`PLUGIN_LOGINS=[{},{"registry":"quay.io"}]`:                                                         "PLUGIN_LOGINS (entry 2), for quay.io, has no username",
		`PLUGIN_LOGINS=[{},{"password":"canary"}]`:                                                          "PLUGIN_LOGINS (entry 2), for docker.io, has no username",
		`PLUGIN_LOGINS=[{"registry":"a b","username":"a","password":"canary"}]`:                             "PLUGIN_LOGINS (entry 1): registry: \"a b\" is not a registry",
		`PLUGIN_LOGINS=[{"registry":"https://a:canary@b.io","username":"a","password":"x"}]`:                "PLUGIN_LOGINS (entry 1): registry: the registry has a user name",
		logins("ghcr.io", "quay.io", "https://ghcr.io/v1/"):                                                 "PLUGIN_LOGINS (entry 1) and PLUGIN_LOGINS (entry 3) are both for ghcr.io",
		`PLUGIN_LOGINS=[{"registry":"1.dkr.ecr.eu-west-1.amazonaws.com","aws_secret_access_key":"canary"}]`: "PLUGIN_LOGINS (entry 1) has an AWS key, and its registry 1.dkr.ecr.eu-west-1.amazonaws.com is not Amazon's",
		"PLUGIN_CONFIG=canary": "PLUGIN_CONFIG is not a config.json of Docker",
		`DOCKER_PLUGIN_CONFIG={"auths":{"ghcr.io":{"auth":"canary"}}}`:            "DOCKER_PLUGIN_CONFIG is not a config.json of Docker",
		`PLUGIN_CONFIG={"auths":{"ghcr.io":{"username":"canary-user"}}}`:          "PLUGIN_CONFIG (auths of ghcr.io) has no password",
		`PLUGIN_CONFIG={"auths":{"ghcr.io":{"registrytoken":"canary"}}}`:          "PLUGIN_CONFIG (auths of ghcr.io) has a registrytoken",
		`PLUGIN_CONFIG={"auths":{"a b":{"username":"u","password":"canary"}}}`:    `PLUGIN_CONFIG: auths: "a b" is not a registry`,
		`PLUGIN_CONFIG={"credsStore":"desktop"}`:                                  `PLUGIN_CONFIG names the credsStore "desktop"`,
		`PLUGIN_CONFIG={"credHelpers":{"b.io":"x","a.io":"y"}}`:                   "PLUGIN_CONFIG names credHelpers (for a.io, b.io)",
		"PLUGIN_BASE_IMAGE_REGISTRY=ghcr.io && PLUGIN_BASE_IMAGE_USERNAME=a":      "PLUGIN_BASE_IMAGE_USERNAME is set without PLUGIN_BASE_IMAGE_PASSWORD: set both",
		"PLUGIN_BASE_IMAGE_REGISTRY=ghcr.io && DOCKER_BASE_IMAGE_PASSWORD=canary": "DOCKER_BASE_IMAGE_PASSWORD is set without PLUGIN_BASE_IMAGE_USERNAME",
		"PLUGIN_BASE_IMAGE_REGISTRY=a b":                                          "PLUGIN_BASE_IMAGE_REGISTRY: \"a b\" is not a registry",
		"PLUGIN_BASE_IMAGE_REGISTRY=ghcr.io && PLUGIN_DOCKER_REGISTRY=quay.io":    "PLUGIN_BASE_IMAGE_REGISTRY and PLUGIN_DOCKER_REGISTRY are one setting",
		"DOCKER_USERNAME=ci":      "DOCKER_USERNAME is set without PLUGIN_PASSWORD",
		"DOCKER_REGISTRY=ghcr.io": "DOCKER_REGISTRY is ghcr.io, and PLUGIN_REPO is registry.example.com/acme/app, which is not there",
		"PLUGIN_REPO=acme/app,quay.io/xx && PLUGIN_REGISTRY=ghcr.io && " + logins(hubURL): "PLUGIN_REPO is quay.io/xx, which is not there: begin PLUGIN_REPO with the registry, or add a login for quay.io",
		"PLUGIN_REPO=acme/app, quay.io/x:1":                                               `PLUGIN_REPO is "quay.io/x:1": set the name without a tag`,
		"PLUGIN_REPO=a" + strings.Repeat(",a", 20):                                        "PLUGIN_REPO has 21 names",
		"PLUGIN_REPO=,":            "PLUGIN_REPO is not set",
		"PLUGIN_INSECURE=registry": `PLUGIN_INSECURE is "registry": use true or false, or the registries`,
	})
}

// A CI keeps secrets from pull requests, and a dry run needs no login to push.
func TestADryRunNeedsNoWholeLogin(t *testing.T) {
	p, err := settings.ReadPlugin(
		plugin(
			"PLUGIN_REPO=app",
			"PLUGIN_REGISTRY=ghcr.io",
			"PLUGIN_DRY_RUN=true",
			"PLUGIN_USERNAME=ci",
			"PLUGIN_EMAIL=a@example.com",
			`PLUGIN_LOGINS=[{"registry":"quay.io","username":"a","password":""},{"registry":"b.io","username":"b","password":"pw","mirrors":["m.io"]}]`,
			"PLUGIN_DOCKER_PASSWORD=x",
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b.io b:pw PLUGIN_LOGINS (entry 2)"}, known(p)); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
	for _, want := range []string{
		"no login from PLUGIN_USERNAME: PLUGIN_PASSWORD is not set", "PLUGIN_LOGINS (entry 1): no login at quay.io: password is not set",
		"PLUGIN_EMAIL has no effect", "PLUGIN_BASE_IMAGE_REGISTRY is not set",
	} {
		if !strings.Contains(strings.Join(p.Warnings, "\n"), want) {
			t.Errorf("got notes %v, want %q in one", p.Warnings, want)
		}
	}
}

func TestAnUnusedLoginIsNoted(t *testing.T) {
	const user, password = "PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=pw"
	p := readPlugin(t, user, password, "PLUGIN_INSECURE=docker.io", logins("registry.example.com"))
	checkSame(t, "logins", known(p),
		[]string{"docker.io" + mainIs, "registry.example.com robot1:pw1 PLUGIN_LOGINS (entry 1)"})
	p = readPlugin(t, "PLUGIN_REGISTRY=registry.example.com", user, password, logins("registry.example.com"))
	want := "the login of PLUGIN_LOGINS (entry 1) is not used: " +
		"the login of PLUGIN_USERNAME and PLUGIN_PASSWORD is for registry.example.com, too"
	if !slices.Contains(p.Warnings, want) {
		t.Errorf("got notes %q, want %q", p.Warnings, want)
	}
	if shown := fmt.Sprintf("%+v %v", p, p.Shown()); strings.Contains(shown, "pw1") {
		t.Errorf("settings: got %s, want no password in it", shown)
	}
	checkMasked(t, p, "pw")
}

func TestHalfALoginIsEnoughWhereNothingIsPushed(t *testing.T) {
	for _, line := range []string{"PLUGIN_DRY_RUN=true", "PLUGIN_NO_PUSH=true", "PLUGIN_OUTPUT=type=image,push=false", "PLUGIN_OUTPUT=type=cacheonly"} {
		got := readPlugin(t, "PLUGIN_USERNAME=ci", "PLUGIN_REGISTRY=elsewhere.example.com", line)
		checkEqual(t, line+": number of logins", len(got.Logins), 0)
		checkNotes(t, line, got.Warnings, "PLUGIN_PASSWORD is not set")
	}
}

// A secret that was stored from a file ends with a line break, which docker login leaves out, too.
func TestALineBreakAtTheEndOfALogin(t *testing.T) {
	const note = "the line break at the end of "
	for name, c := range map[string]struct {
		environ []string
		want    []string // logins; empty = another value
		note    string
	}{
		"password": {
			[]string{"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=pw\n"},
			[]string{"registry.example.com" + mainIs}, "PLUGIN_USERNAME and PLUGIN_PASSWORD",
		},
		"user name, of Windows": {
			[]string{"PLUGIN_USERNAME=ci\r\n", "PLUGIN_PASSWORD=pw\r\n"},
			[]string{"registry.example.com" + mainIs}, "PLUGIN_USERNAME and PLUGIN_PASSWORD",
		},
		"logins": {
			[]string{`PLUGIN_LOGINS=[{"registry":"ghcr.io","username":"a","password":"b\n"}]`},
			[]string{"ghcr.io a:b PLUGIN_LOGINS (entry 1)"}, "PLUGIN_LOGINS (entry 1)",
		},
		"config": {
			[]string{`PLUGIN_CONFIG={"auths":{"ghcr.io":{"auth":"` + auth("a", "b\n") + `"}}}`},
			[]string{"ghcr.io a:b PLUGIN_CONFIG (auths of ghcr.io)"}, "PLUGIN_CONFIG (auths of ghcr.io)",
		},
		"access token": {
			[]string{"PLUGIN_ACCESS_TOKEN=tok\n"},
			[]string{"registry.example.com oauth2accesstoken:tok PLUGIN_ACCESS_TOKEN"}, "PLUGIN_ACCESS_TOKEN",
		},
		"Amazon's key": {
			[]string{
				"PLUGIN_REPO=123456789012.dkr.ecr.eu-west-1.amazonaws.com/app",
				"PLUGIN_AWS_ACCESS_KEY_ID=AKIA\n", "PLUGIN_AWS_SECRET_ACCESS_KEY=key\n",
			},
			[]string{}, "PLUGIN_AWS_ACCESS_KEY_ID or its secret",
		},
		"Bitbucket's token": {[]string{"PLUGIN_BITBUCKET_TOKEN=tok\n"}, []string{}, "the credential for Bitbucket"},
		"within the password": {
			[]string{"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=a\nb"},
			[]string{"registry.example.com ci:a\nb PLUGIN_USERNAME and PLUGIN_PASSWORD"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := readPlugin(t, c.environ...)
			checkSame(t, "logins", known(p), c.want)
			notes := strings.Join(p.Warnings, "\n")
			if c.note == "" && strings.Contains(notes, note) {
				t.Errorf("got notes %q, want none on a line break", notes)
			}
			if c.note != "" && !strings.Contains(notes, note+c.note) {
				t.Errorf("got notes %q, want %q in them", notes, note+c.note)
			}
			if got := p.ECR.KeySecret.Reveal() + p.Status.Credential.Password.Reveal(); strings.Contains(got, "\n") {
				t.Errorf("other secrets: got %q, want no line break", got)
			}
		})
	}
}
