package tags

// A Kind is what a note is about. docs/migrate-step.md has a row of this name.
type Kind string

// The kinds of notes.
const (
	Plus       Kind = "plus"              // a + in a tag
	Unnamed    Kind = "latest-unnamed"    // no tags are set, and latest stays
	Branch     Kind = "latest-branch"     // latest stays: another branch, or a pull request
	Prerelease Kind = "latest-prerelease" // latest stays: a pre-release
	Release    Kind = "latest-release"    // latest stays: a release that does not name it
	Replaced   Kind = "tags-replaced"     // tags are named, and those that are made replace them
	Unread     Kind = "tags-unread"       // two places name tags, and one of them wins
)

// A Note is one line for the log: what is not as somebody may have expected, and why.
type Note struct {
	Kind Kind
	Text string
}

// String is the note with the name of its row in the document.
func (n Note) String() string { return n.Text + " [" + string(n.Kind) + "]" }

// Kinds lists them all.
func Kinds() []Kind {
	return []Kind{Plus, Unnamed, Branch, Prerelease, Release, Replaced, Unread}
}
