package rules

import "strings"

// skipPhrase returns the first phrase in a commit message that disables the build, or "". The
// phrases are literal, as in Bitbucket Pipelines. They apply to branches only: release tools
// often write [skip ci] into the commit that they tag, and the tag must still be built.
func skipPhrase(message string) string {
	for _, phrase := range []string{"[skip ci]", "[ci skip]", "[skip build]", "[build skip]"} {
		if strings.Contains(message, phrase) {
			return phrase
		}
	}
	return ""
}
