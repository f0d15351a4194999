package settings_test

import (
	"strings"
	"testing"

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
	if err != nil {
		t.Fatal(err)
	}
	checkSame(t, "ECR", got.ECR, want)
	checkEqual(t, "type of the registry", got.Files.RegistryType, "ECR")
	checkRemoved(t, e, "PLUGIN_AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY")
	checkMasked(t, got, "canary")
}

func TestTheEnvironmentsKeyIsTakenAsAWhole(t *testing.T) {
	got, e, err := atECR("AWS_ACCESS_KEY_ID=AKIA2", "AWS_SECRET_ACCESS_KEY=canary", "AWS_SESSION_TOKEN=session-canary")
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "login with the key", got.ECR.On, true)
	checkEqual(t, "key", got.ECR.KeyID, "AKIA2")
	checkEqual(t, "secret of the key", got.ECR.KeySecret.Reveal(), "canary")
	checkEqual(t, "session", got.ECR.Session.Reveal(), "session-canary")
	checkEqual(t, "origin", got.Origins["PLUGIN_AWS_ACCESS_KEY_ID"], "AWS_ACCESS_KEY_ID")
	checkRemoved(t, e, "AWS_SESSION_TOKEN")
	_, _, err = atECR("PLUGIN_AWS_ACCESS_KEY_ID=AKIA1", "AWS_SECRET_ACCESS_KEY=canary")
	checkError(t, "half of each", err, "set both")
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
	if err != nil {
		t.Fatal(err)
	}
	checkSame(t, "ECR", got.ECR, want)
	checkEqual(t, "number of other logins", len(got.Logins), 0)
	checkMasked(t, got, "canary")
	// The registry has base images only.
	want.Repositories = nil
	got = readPlugin(t, "PLUGIN_LOGINS=["+entry+"]")
	checkSame(t, "ECR of base images", got.ECR, want)
	checkEqual(t, "type of the registry", got.Files.RegistryType, "Docker")
	checkFaults(
		t,
		func(line string) error { _, _, err := atECR(strings.Split(line, "\n")...); return err },
		map[string]string{
			"PLUGIN_LOGINS=[" + entry + "]\nPLUGIN_AWS_ACCESS_KEY_ID=A\nPLUGIN_AWS_SECRET_ACCESS_KEY=canary":       "PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_LOGINS (entry 1) are both set",
			"PLUGIN_LOGINS=[" + entry + "," + strings.ReplaceAll(entry, "123456789012", "210987654321") + "]":      "PLUGIN_LOGINS (entry 2) is the second login with an AWS key",
			"PLUGIN_LOGINS=[" + strings.Replace(entry, `"aws_region":"eu-central-1"`, `"aws_region":"x"`, 1) + "]": "PLUGIN_LOGINS (entry 1): aws_region is x, and the registry is in eu-central-1",
			"PLUGIN_LOGINS=[" + strings.Replace(entry, `AKIA1`, ``, 1) + "]":                                       "PLUGIN_LOGINS (entry 1), for " + host + ", has no aws_access_key_id, or no aws_secret_access_key",
			"PLUGIN_REPO=acme/app\nPLUGIN_ECR_CREATE_REPOSITORY=true\nPLUGIN_LOGINS=[" + entry + "]":               "begin PLUGIN_REPO with",
		},
	)
}

func TestSettingsWithoutAnAWSLogin(t *testing.T) {
	const repo = "PLUGIN_REPO=" + ecrImage
	const key, keySecret = "AWS_ACCESS_KEY_ID=AKIA2", "AWS_SECRET_ACCESS_KEY=canary"
	for name, environ := range map[string][]string{
		"with a user name":    {repo, "PLUGIN_USERNAME=AWS", "PLUGIN_PASSWORD=canary", key, keySecret},
		"without a key":       {repo},
		"at another registry": {key, keySecret},
	} {
		checkEqual(t, name, readPlugin(t, environ...).ECR.On, false)
	}
}

// A CI keeps secrets from pull requests, and a dry run changes no repository.
func TestADryRunNeedsNoKeyOfAmazons(t *testing.T) {
	for want, line := range map[string]string{
		"no login at Amazon's registry: only one of PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY is set": "PLUGIN_AWS_ACCESS_KEY_ID=AKIA1",
		"": "PLUGIN_ECR_CREATE_REPOSITORY=true",
	} {
		got := readPlugin(t, "PLUGIN_REPO="+ecrImage, "PLUGIN_NO_PUSH=true", line)
		checkEqual(t, line, got.ECR.On, false)
		if notes := strings.Join(got.Warnings, "\n"); !strings.Contains(notes, want) {
			t.Errorf("%s: got notes %q, want %q", line, notes, want)
		}
	}
}

// A copied setting must not send the password in clear text.
func TestAmazonsRegistryIsNeverInsecure(t *testing.T) {
	for _, value := range []string{"true", strings.TrimSuffix(ecrImage, "/acme/app")} {
		got := readPlugin(t, "PLUGIN_REPO="+ecrImage, "PLUGIN_AWS_ACCESS_KEY_ID=AKIA1",
			"PLUGIN_AWS_SECRET_ACCESS_KEY=canary", "PLUGIN_INSECURE="+value)
		checkEqual(t, value+": login with the key", got.ECR.On, true)
		checkEqual(t, value+": number of other logins", len(got.Logins), 0)
		checkNotes(t, value, got.Warnings, "which uses HTTPS")
	}
}

func TestInvalidECRSettingsAreNamedInTheError(t *testing.T) {
	for setting, want := range map[string]string{
		"PLUGIN_AWS_REGION=us-east-1":                                                          "PLUGIN_AWS_REGION is us-east-1, and PLUGIN_REPO is in eu-central-1",
		"PLUGIN_AWS_ACCESS_KEY_ID=AKIA1":                                                       "only one of PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY is set",
		"PLUGIN_AWS_SECRET_ACCESS_KEY=canary":                                                  "only one of PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY is set",
		"PLUGIN_ECR_CREATE_REPOSITORY=perhaps":                                                 `PLUGIN_ECR_CREATE_REPOSITORY is "perhaps"`,
		"PLUGIN_ECR_SCAN_ON_PUSH=perhaps":                                                      `PLUGIN_ECR_SCAN_ON_PUSH is "perhaps"`,
		"PLUGIN_ECR_SCAN_ON_PUSH=false":                                                        "needs an AWS key",
		"PLUGIN_ECR_LIFECYCLE_POLICY=ci/lifecycle.json":                                        "needs an AWS key",
		"PLUGIN_REPO=acme/app\nPLUGIN_AWS_ACCESS_KEY_ID=A":                                     "begin PLUGIN_REPO with ACCOUNT.dkr.ecr.REGION.amazonaws.com/",
		"PLUGIN_REPO=12.dkr.ecr.eu.amazonaws.com.evil.example/app\nPLUGIN_AWS_ACCESS_KEY_ID=A": "begin PLUGIN_REPO with",
	} {
		_, _, err := atECR(strings.Split(setting, "\n")...)
		checkError(t, setting, err, want)
	}
}
