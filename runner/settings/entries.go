package settings

import (
	"fmt"
	"strings"

	"github.com/tonistiigi/go-csvvalue"
)

// A document is one setting's entry in Docker's form, as id=npm,src=path: fields with values,
// and words that stand alone.
type document struct {
	text   string
	fields map[string]string
}

// documents reads a list of such entries, whose own commas collide with those of the list. A
// list keeps them apart as JSON, or by a backslash before an entry's own commas. Where a CI
// joined the entries without either, a new one begins at a key that the one before it has.
func documents(name, value string) ([]document, error) {
	entries, err := escapedList(name, value)
	if err != nil {
		return nil, err
	}
	var all []document
	for i, entry := range entries {
		fields, err := csvvalue.Fields(entry, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: entry %d is not of the form key=value,key=value", name, i+1)
		}
		var one *document
		for _, field := range fields {
			key, value, found := strings.Cut(strings.TrimSpace(field), "=")
			if key = strings.ToLower(key); !found {
				key, value = "", field
			}
			if one == nil || key == "" || hasName(one.fields, key) || hasName(one.fields, "") {
				all = append(all, document{fields: map[string]string{}})
				one = &all[len(all)-1]
			}
			one.fields[key] = value
			one.text = strings.TrimPrefix(one.text+","+field, ",")
		}
	}
	return all, nil
}

// escapedList is list for entries that hold commas. Without a JSON list or a backslash it has
// one entry.
func escapedList(name, value string) ([]string, error) {
	if value = strings.TrimSpace(value); value == "" || strings.HasPrefix(value, "[") {
		return list(name, value)
	}
	if !strings.Contains(value, `\,`) {
		return []string{value}, nil
	}
	const comma = "\x00" // a variable of the environment cannot hold it
	entries := strings.Split(strings.ReplaceAll(value, `\,`, comma), ",")
	for i := range entries {
		entries[i] = strings.ReplaceAll(entries[i], comma, ",")
	}
	return entries, nil
}
