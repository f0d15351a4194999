package tags

// A Kind is the subject of a note, for example "latest-branch". docs/migrate-step.md has a row for each Kind.
type Kind string

// The kinds of notes.
const (
	Plus       Kind = "plus"              // a + in a tag
	Unnamed    Kind = "latest-unnamed"    // no tags are set, and latest stays
	Branch     Kind = "latest-branch"     // latest stays: another branch, or a pull request
	Prerelease Kind = "latest-prerelease" // latest stays: a pre-release
	Release    Kind = "latest-release"    // latest stays: a release that does not name it
	Replaced   Kind = "tags-replaced"     // auto_tag replaces the named tags
	Unread     Kind = "tags-unread"       // two sources name tags, and only one is read
)

// A Note is one line for the log. It explains a difference from the tags that a user may expect.
type Note struct {
	Kind Kind
	Text string
}

// String returns the text with the Kind in brackets, which is the name of the row in the document.
func (n Note) String() string { return n.Text + " [" + string(n.Kind) + "]" }

// Kinds lists all kinds of notes.
func Kinds() []Kind {
	return []Kind{Plus, Unnamed, Branch, Prerelease, Release, Replaced, Unread}
}
