package tags

import "fmt"

// A Source is a place that names tags.
type Source struct {
	Name string // for people, as PLUGIN_TAGS or .tags
	Tags []string
}

// Choose is the place that wins: a file that a setting names, as docker-buildx has it; then
// the setting tags and the workspace's file .tags. Between these docker and slipway take the
// setting, for whoever pushes can write the file, and buildx the file. A note says what is not
// read.
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
			text := fmt.Sprintf("%s is not read (%d tags): %s goes before it (auto_tag_mode %s)", source.Name, len(source.Tags), winner.Name, mode)
			notes = append(notes, Note{Kind: Unread, Text: text})
		}
	}
	return winner, notes
}
