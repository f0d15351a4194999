package rules

import "strings"

// skipPhrase returns the first phrase in a head commit's message that asks for no build. They
// are literal, as Bitbucket Pipelines has them. They count for branches only: the commit that
// a release tool makes often says [skip ci] for its branch, and its tag is the release.
func skipPhrase(message string) string {
	for _, phrase := range []string{"[skip ci]", "[ci skip]", "[skip build]", "[build skip]"} {
		if strings.Contains(message, phrase) {
			return phrase
		}
	}
	return ""
}
