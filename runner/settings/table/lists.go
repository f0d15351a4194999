package table

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tonistiigi/go-csvvalue"
)

// ParseList reads a comma-separated list, which a CI makes of a list of scalars, or a JSON list, for
// entries that hold commas. It leaves out empty entries: ${DRONE_TAG} is empty on a branch. name is
// the variable, for the error.
func ParseList(name, text string) ([]string, error) {
	entries := strings.Split(text, ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		entries = nil
		if err := json.Unmarshal([]byte(text), &entries); err != nil {
			return nil, fmt.Errorf(
				"%s begins with [ and is not a JSON list of strings: write [\"a\",\"b\"], or a,b",
				name,
			)
		}
	}
	return slices.DeleteFunc(entries, func(entry string) bool { return entry == "" }), nil
}

// ParseObject reads a JSON object, which Woodpecker makes of a map. Numbers, true and false keep
// their text; null is empty. It returns an empty map with an error.
func ParseObject(name, text string) (map[string]string, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return map[string]string{}, fmt.Errorf(
			"%s begins with { and is not a JSON object: write {\"NAME\":\"value\"}, or NAME=value", name)
	}
	all := make(map[string]string, len(raw))
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		value := string(raw[key])
		switch {
		case strings.HasPrefix(value, `"`):
			_ = json.Unmarshal(raw[key], &value) // cannot fail: the whole object was valid
		case value == "null":
			value = ""
		case strings.ContainsAny(value[:1], "[{"):
			return all, fmt.Errorf("%s: the value of %q is not text", name, key)
		}
		all[key] = value
	}
	return all, nil
}

// ParseCSVEntries reads a list of entries in Docker's form, such as id=npm,src=path, and returns the
// fields of each: {"id": "npm", "src": "path"}. A field without = has the key "".
//
// The commas in an entry collide with those of the list. A list keeps the entries apart as JSON, or by
// a backslash before an entry's own commas. If a CI joined the entries without either, a key that the
// current entry has begins a new entry.
func ParseCSVEntries(name, text string) ([]map[string]string, error) {
	entries, err := splitEntries(name, text)
	if err != nil {
		return nil, err
	}
	var all []map[string]string
	for i, entry := range entries {
		fields, err := csvvalue.Fields(entry, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: entry %d is not of the form key=value,key=value", name, i+1)
		}
		all = append(all, groupFields(fields)...)
	}
	return all, nil
}

// groupFields groups the fields key=value of one or more entries.
func groupFields(fields []string) []map[string]string {
	var all []map[string]string
	var current map[string]string
	for _, field := range fields {
		key, value, found := strings.Cut(strings.TrimSpace(field), "=")
		if key = strings.ToLower(key); !found {
			key, value = "", field
		}
		_, repeated := current[key]
		_, isWord := current[""]
		if current == nil || key == "" || repeated || isWord {
			current = map[string]string{}
			all = append(all, current)
		}
		current[key] = value
	}
	return all
}

// splitEntries is ParseList for entries that hold commas. Without a JSON list or a backslash it
// returns one entry.
func splitEntries(name, text string) ([]string, error) {
	text = strings.TrimSpace(text)
	if text == "" || strings.HasPrefix(text, "[") {
		return ParseList(name, text)
	}
	if !strings.Contains(text, `\,`) {
		return []string{text}, nil
	}
	const comma = "\x00" // a variable of the environment cannot hold it
	entries := strings.Split(strings.ReplaceAll(text, `\,`, comma), ",")
	for i := range entries {
		entries[i] = strings.ReplaceAll(entries[i], comma, ",")
	}
	return entries, nil
}
