package settings

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// list reads a comma list, as a CI makes of a list of scalars, or a JSON list, for entries
// that hold commas. Empty entries are left out: ${DRONE_TAG} is empty on a branch.
func list(name, value string) ([]string, error) {
	entries := strings.Split(value, ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	if strings.HasPrefix(strings.TrimSpace(value), "[") {
		entries = nil
		if err := json.Unmarshal([]byte(value), &entries); err != nil {
			return nil, fmt.Errorf("%s begins with [ and is no JSON list of strings: write [\"a\",\"b\"], or a,b", name)
		}
	}
	return slices.DeleteFunc(entries, func(entry string) bool { return entry == "" }), nil
}

func trueFalse(name, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%s is %q: use true or false", name, value)
}
