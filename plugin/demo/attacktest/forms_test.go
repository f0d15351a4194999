package attacktest

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// encode returns a secret in one of the forms that hooks/pre_build of a7.4-masking prints.
func encode(secret, form string) string {
	switch form {
	case "hex":
		return hex.EncodeToString([]byte(secret))
	case "hex-upper":
		return strings.ToUpper(hex.EncodeToString([]byte(secret)))
	case "json":
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret)
	case "html":
		return strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "'", "&#39;").Replace(secret)
	case "shell":
		return strings.ReplaceAll(secret, "'", `'\''`)
	case "base64-wrapped":
		return wrap(base64.StdEncoding.EncodeToString([]byte(secret)), 16)
	case "color":
		tail := len(secret) - 4
		return secret[:4] + "\x1b[31m" + secret[4:tail] + "\x1b[0m" + secret[tail:]
	}
	return ""
}

// wrap breaks text into lines of width bytes.
func wrap(text string, width int) string {
	var lines []string
	for len(text) > width {
		lines = append(lines, text[:width])
		text = text[width:]
	}
	return strings.Join(append(lines, text), "\n")
}

// between returns what a log shows between the lines "begin NAME" and "end NAME".
func between(log, name string) (shown string, ok bool) {
	_, rest, found := strings.Cut(log, "begin "+name+"\n")
	shown, _, ended := strings.Cut(rest, "\nend "+name+"\n")
	return shown, found && ended
}
