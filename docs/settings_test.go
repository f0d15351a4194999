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
)

var update = flag.Bool("update", false, "write settings.md")

// Each setting is described once, in the struct that reads it. `make docs` writes the page.
func TestTheSettingsPageIsCurrent(t *testing.T) {
	want := settingsPage()
	if *update {
		if err := os.WriteFile("settings.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("settings.md")
	if err != nil {
		t.Fatalf("%v: run make docs", err)
	}
	if string(got) != want {
		t.Error("settings.md differs from the settings in package config: run make docs")
	}
}

func settingsPage() string {
	var b strings.Builder
	b.WriteString(
		"# Settings\n\nAfter reading this page you can look up every setting, its default and its meaning.\n\n" +
			"This page is generated from package `config` by `make docs`. Settings are environment variables.\n",
	)
	for _, part := range []struct {
		title, text string
		settings    []config.Setting
	}{
		{"Gateway", "For `slipway gateway`, `slipway doctor`, `slipway engines` and `slipway webhooks`. " +
			"`slipway gateway --help` prints the same.", config.GatewaySettings()},
		{"Runner", "For a runner of a gateway. Engines set the address and the token.", config.RunnerSettings()},
		{"Step in the repository's own pipeline", "For the engine `own`: [Drone](drone.md#in-the-repositorys-own-pipeline), " +
			"[Woodpecker](woodpecker.md#in-the-repositorys-own-pipeline). " +
			"A CI makes `PLUGIN_TOKEN` of the setting `token`.", config.JoinSettings()},
		{"Step without a gateway", "A CI makes `PLUGIN_REPO` of the setting `repo`. " +
			"[migrate-step.md](migrate-step.md) describes these settings by task, and compares them with other plugins.",
			config.PluginSettings()},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", part.title, part.text)
		for _, s := range part.settings {
			b.WriteString(settingItem(s))
		}
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
