package docs_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"slipway/config"
	"slipway/runner/settings"
)

var update = flag.Bool("update", false, "write settings.md and step-settings.md")

// Each setting is declared once: the gateway's in a struct, and the step's in a table. `make docs` writes the pages.
func TestTheSettingsPagesAreCurrent(t *testing.T) {
	for name, want := range map[string]string{"settings.md": gatewayPage(), "step-settings.md": stepPage()} {
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatalf("read the page: %v: run make docs", err)
		}
		if string(got) != want {
			t.Errorf("%s: got an old page, want a current one: run make docs", name)
		}
	}
}

func gatewayPage() string {
	return "# Settings of the gateway\n\nAfter reading this page you can look up every setting of the gateway, " +
		"its default and its meaning.\n\n" +
		"`make docs` generates this page from package `config`. Settings are environment variables. " +
		"[step-settings.md](step-settings.md) lists those of the build step.\n" +
		section("Gateway", "For `slipway gateway` and the commands beside it: `doctor`, `backup`, `restore`, "+
			"`rekey`, `engines` and `webhooks`. [Run a command](operations.md#run-a-command) shows how they get the "+
			"settings. `slipway gateway --help` prints the same.", config.GatewaySettings())
}

func stepPage() string {
	return "# Settings of the build step\n\nAfter reading this page you can look up every setting of the build step, " +
		"its default and its meaning.\n\n" +
		"`make docs` generates this page from package `runner/settings`. Settings are environment variables. " +
		"`slipway runner --help` prints the same. A CI makes `PLUGIN_REPO` of the setting `repo`. " +
		"[settings.md](settings.md) lists the settings of the gateway.\n" +
		section("Step without a gateway", "[migrate-step.md](migrate-step.md) describes these settings by task, "+
			"and compares them with other plugins.", settings.PluginSettings()) +
		section("Step in the repository's own pipeline", "For the engine `own`: "+
			"[Drone](drone.md#in-the-repositorys-own-pipeline), "+
			"[Woodpecker](woodpecker.md#in-the-repositorys-own-pipeline). "+
			"A CI makes `PLUGIN_TOKEN` of the setting `token`.", settings.PipelineRequestSettings()) +
		section("Runner of a gateway", "Engines set the address and the token.", settings.RunnerSettings())
}

// section returns a heading, a text and a list of settings.
func section(title, text string, all []config.Setting) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", title, text)
	for _, s := range all {
		b.WriteString(settingItem(s))
	}
	return b.String()
}

// settingItem returns a setting as a list item. The parts of its help, which semicolons separate, become
// sentences.
func settingItem(s config.Setting) string {
	text := capitalizeParts(s.Help)
	if s.Default != "" {
		text += ". Default: `" + s.Default + "`"
	}
	if s.Secret {
		text += ". Secret: never printed"
	}
	return "- `" + s.Name + "`: " + strings.NewReplacer("<", "&lt;", "*", `\*`, "[", `\[`).Replace(text) + ".\n"
}

// capitalizeParts replaces "; " by ". " outside of parentheses, and begins the next part with a capital
// unless that is a value, as mode=max.
func capitalizeParts(help string) string {
	parts := strings.Split(help, "; ")
	text := parts[0]
	for _, part := range parts[1:] {
		if strings.Count(text, "(") > strings.Count(text, ")") {
			text += "; " + part
			continue
		}
		first, size := utf8.DecodeRuneInString(part)
		if word, _, _ := strings.Cut(part, " "); !strings.ContainsAny(word, "_=/.") {
			part = string(unicode.ToUpper(first)) + part[size:]
		}
		text += ". " + part
	}
	return text
}
