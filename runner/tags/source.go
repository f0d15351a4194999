package tags

import "fmt"

// A Source is a setting or a file that names tags.
type Source struct {
	Name string // name in log messages, for example PLUGIN_TAGS or .tags
	Tags []string
}

// Choose returns the source with the highest precedence that names tags, and a note for each other
// source that names tags. A file that a setting names (namedFile) comes first, as in docker-buildx.
// Next, the modes docker and slipway prefer the setting tags to the workspace's file .tags, because
// every pusher can write the file. The mode buildx prefers the file, as its plugin does.
func Choose(mode Mode, setting, namedFile, dotFile Source) (Source, []Note) {
	order := []Source{namedFile, setting, dotFile}
	if mode == Buildx {
		order = []Source{namedFile, dotFile, setting}
	}
	var winner Source
	var notes []Note
	for _, source := range order {
		switch {
		case len(source.Tags) == 0:
		case len(winner.Tags) == 0:
			winner = source
		default:
			text := fmt.Sprintf("%s is not used (%d tags): %s has precedence (auto_tag_mode %s)",
				source.Name, len(source.Tags), winner.Name, mode)
			notes = append(notes, Note{Kind: Unread, Text: text})
		}
	}
	return winner, notes
}
