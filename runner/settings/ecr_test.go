package settings_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/settings"
)

const ecrImage = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/acme/app"

// atECR reads the settings of a step whose image is at Amazon's.
func atECR(more ...string) (settings.Plugin, *environment, error) {
	e := plugin(more...)
	e.lines[1] = "PLUGIN_REPO=" + ecrImage
	p, err := settings.ReadPlugin(e)
	return p, e, err
}

func TestTheKeyForAmazonsRegistryIsRead(t *testing.T) {
	on := true
	got, e, err := atECR(
		"PLUGIN_AWS_ACCESS_KEY_ID=AKIA1",
		"PLUGIN_AWS_SECRET_ACCESS_KEY=canary",
		"PLUGIN_AWS_REGION=eu-central-1",
		"PLUGIN_ECR_CREATE_REPOSITORY=true",
		"PLUGIN_ECR_SCAN_ON_PUSH=yes",
		"PLUGIN_ECR_LIFECYCLE_POLICY=ci/lifecycle.json",
		"PLUGIN_ECR_REPOSITORY_POLICY=/etc/policy.json",
		"AWS_ACCESS_KEY_ID=AKIA2",
		"AWS_SECRET_ACCESS_KEY=other",
		"AWS_ENDPOINT_URL_ECR=https://ecr.example.com",
	)
	want := settings.ECR{
		On:           true,
		Region:       "eu-central-1",
		KeyID:        "AKIA1",
		KeySecret:    secret.New("canary"),
		Endpoint:     "https://ecr.example.com",
		Host:         "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
		Repositories: []string{"acme/app"},
		Create:       true,
		Scan:         &on,
		Lifecycle:    "ci/lifecycle.json",
		Policy:       "/etc/policy.json",
	}
	if diff := cmp.Diff(want, got.ECR, comparers()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got.Files.RegistryType != "ECR" {
		t.Errorf("the artifact file would name the registry %s", got.Files.RegistryType)
	}
	for _, name := range []string{"PLUGIN_AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"} {
		if !slices.Contains(e.removed, name) {
			t.Errorf("%s stays in the environment", name)
		}
	}
	if !slices.ContainsFunc(got.Secrets(), func(s secret.Secret) bool { return s.Reveal() == "canary" }) {
		t.Error("the log would not mask the key's secret")
	}
}

func TestTheEnvironmentsKeyIsTakenAsAWhole(t *testing.T) {
	got, e, err := atECR("AWS_ACCESS_KEY_ID=AKIA2", "AWS_SECRET_ACCESS_KEY=canary", "AWS_SESSION_TOKEN=session-canary")
	if err != nil || !got.ECR.On || got.ECR.KeyID != "AKIA2" || got.ECR.KeySecret.Reveal() != "canary" ||
		got.ECR.Session.Reveal() != "session-canary" {
		t.Errorf("%+v, %v", got.ECR, err)
	}
	if got.Origins["PLUGIN_AWS_ACCESS_KEY_ID"] != "AWS_ACCESS_KEY_ID" {
		t.Errorf("the key is said to come from %s", got.Origins["PLUGIN_AWS_ACCESS_KEY_ID"])
	}
	if !slices.Contains(e.removed, "AWS_SESSION_TOKEN") {
		t.Errorf("removed %v", e.removed)
	}
	if _, _, err := atECR(
		"PLUGIN_AWS_ACCESS_KEY_ID=AKIA1",
		"AWS_SECRET_ACCESS_KEY=canary",
	); err == nil ||
		!strings.Contains(err.Error(), "give both") {
		t.Errorf("half of each: %v", err)
	}
}

func TestTheKeyOfAnEntryOfLoginsIsTheRegistrys(t *testing.T) {
	const host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	const entry = `{"registry":"https://` + host + `","aws_region":"eu-central-1","aws_access_key_id":"AKIA1","aws_secret_access_key":"canary"}`
	want := settings.ECR{
		On:           true,
		Region:       "eu-central-1",
		KeyID:        "AKIA1",
		KeySecret:    secret.New("canary"),
		Host:         host,
		Repositories: []string{"acme/app"},
	}
	got, _, err := atECR("PLUGIN_LOGINS=["+entry+"]", "AWS_ACCESS_KEY_ID=AKIA2", "AWS_SECRET_ACCESS_KEY=other")
	if diff := cmp.Diff(want, got.ECR, comparers()); diff != "" || err != nil || len(got.Logins) != 0 {
		t.Errorf("%v, logins %v (-want +got):\n%s", err, got.Logins, diff)
	}
	if !slices.ContainsFunc(got.Secrets(), func(s secret.Secret) bool { return s.Reveal() == "canary" }) {
		t.Error("the log would not mask the key's secret")
	}
	// of base images alone
	want.Repositories = nil
	got, err = settings.ReadPlugin(plugin("PLUGIN_LOGINS=[" + entry + "]"))
	if diff := cmp.Diff(want, got.ECR, comparers()); diff != "" || err != nil || got.Files.RegistryType == "ECR" {
		t.Errorf("%v, %s (-want +got):\n%s", err, got.Files.RegistryType, diff)
	}
	checkFaults(
		t,
		func(line string) error { _, _, err := atECR(strings.Split(line, "\n")...); return err },
		map[string]string{
			"PLUGIN_LOGINS=[" + entry + "]\nPLUGIN_AWS_ACCESS_KEY_ID=A\nPLUGIN_AWS_SECRET_ACCESS_KEY=canary":       "PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_LOGINS (entry 1) are both set",
			"PLUGIN_LOGINS=[" + entry + "," + strings.ReplaceAll(entry, "123456789012", "210987654321") + "]":      "PLUGIN_LOGINS (entry 2) is the second with a key of AWS",
			"PLUGIN_LOGINS=[" + strings.Replace(entry, `"aws_region":"eu-central-1"`, `"aws_region":"x"`, 1) + "]": "PLUGIN_LOGINS (entry 1): aws_region is x, and the registry is in eu-central-1",
			"PLUGIN_LOGINS=[" + strings.Replace(entry, `AKIA1`, ``, 1) + "]":                                       "PLUGIN_LOGINS (entry 1), for " + host + ", has no aws_access_key_id, or no aws_secret_access_key",
			"PLUGIN_REPO=acme/app\nPLUGIN_ECR_CREATE_REPOSITORY=true\nPLUGIN_LOGINS=[" + entry + "]":               "begin PLUGIN_REPO with",
		},
	)
}

func TestWhenThereIsNoLoginByKey(t *testing.T) {
	if got, _, err := atECR(
		"PLUGIN_USERNAME=AWS",
		"PLUGIN_PASSWORD=canary",
		"AWS_ACCESS_KEY_ID=AKIA2",
		"AWS_SECRET_ACCESS_KEY=canary",
	); err != nil ||
		got.ECR.On {
		t.Errorf("with a user name: %+v, %v", got.ECR, err)
	}
	if got, _, err := atECR(); err != nil || got.ECR.On {
		t.Errorf("without a key: %+v, %v", got.ECR, err)
	}
	if got, err := settings.ReadPlugin(
		plugin("AWS_ACCESS_KEY_ID=AKIA2", "AWS_SECRET_ACCESS_KEY=canary"),
	); err != nil ||
		got.ECR.On {
		t.Errorf("at another registry: %+v, %v", got.ECR, err)
	}
}

// A CI keeps secrets from pull requests, and a dry run changes no repository.
func TestADryRunNeedsNoKeyOfAmazons(t *testing.T) {
	for want, line := range map[string]string{
		"no login at Amazon's registry: PLUGIN_AWS_ACCESS_KEY_ID or PLUGIN_AWS_SECRET_ACCESS_KEY is not set": "PLUGIN_AWS_ACCESS_KEY_ID=AKIA1",
		"": "PLUGIN_ECR_CREATE_REPOSITORY=true",
	} {
		got, _, err := atECR("PLUGIN_NO_PUSH=true", line)
		if err != nil || got.ECR.On || !strings.Contains(strings.Join(got.Warnings, "\n"), want) {
			t.Errorf("%s: %v, on %t, notes %q", line, err, got.ECR.On, got.Warnings)
		}
	}
}

// The password is not to go out in clear because another setting was copied from elsewhere.
func TestAmazonsRegistryIsNeverInsecure(t *testing.T) {
	for _, value := range []string{"true", strings.TrimSuffix(ecrImage, "/acme/app")} {
		got, _, err := atECR(
			"PLUGIN_AWS_ACCESS_KEY_ID=AKIA1",
			"PLUGIN_AWS_SECRET_ACCESS_KEY=canary",
			"PLUGIN_INSECURE="+value,
		)
		if err != nil || !got.ECR.On || len(got.Logins) != 0 ||
			!slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "which uses HTTPS") }) {
			t.Errorf("%s: %v, logins %v, notes %q", value, err, got.Logins, got.Warnings)
		}
	}
}

func TestECRSettingsThatCannotBeNameThemselves(t *testing.T) {
	for setting, want := range map[string]string{
		"PLUGIN_AWS_REGION=us-east-1":                                                          "PLUGIN_AWS_REGION is us-east-1, and PLUGIN_REPO is in eu-central-1",
		"PLUGIN_AWS_ACCESS_KEY_ID=AKIA1":                                                       "PLUGIN_AWS_ACCESS_KEY_ID or PLUGIN_AWS_SECRET_ACCESS_KEY is not set",
		"PLUGIN_AWS_SECRET_ACCESS_KEY=canary":                                                  "PLUGIN_AWS_ACCESS_KEY_ID or PLUGIN_AWS_SECRET_ACCESS_KEY is not set",
		"PLUGIN_ECR_CREATE_REPOSITORY=perhaps":                                                 `PLUGIN_ECR_CREATE_REPOSITORY is "perhaps"`,
		"PLUGIN_ECR_SCAN_ON_PUSH=perhaps":                                                      `PLUGIN_ECR_SCAN_ON_PUSH is "perhaps"`,
		"PLUGIN_ECR_SCAN_ON_PUSH=false":                                                        "needs a key of Amazon's",
		"PLUGIN_ECR_LIFECYCLE_POLICY=ci/lifecycle.json":                                        "needs a key of Amazon's",
		"PLUGIN_REPO=acme/app\nPLUGIN_AWS_ACCESS_KEY_ID=A":                                     "begin PLUGIN_REPO with ACCOUNT.dkr.ecr.REGION.amazonaws.com/",
		"PLUGIN_REPO=12.dkr.ecr.eu.amazonaws.com.evil.example/app\nPLUGIN_AWS_ACCESS_KEY_ID=A": "begin PLUGIN_REPO with",
	} {
		_, _, err := atECR(strings.Split(setting, "\n")...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want %q", setting, err, want)
		}
	}
}
