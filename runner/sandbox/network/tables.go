package network

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Tables are the rules of a machine by table, in order, for example "-A FORWARD -j DROP" in "filter".
type Tables map[string][]string

// ParseTables returns the rules in the output of iptables-save.
func ParseTables(saved string) Tables {
	have := Tables{}
	table := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
		}
		if strings.HasPrefix(line, "-A ") {
			have[table] = append(have[table], line)
		}
	}
	return have
}

// Has reports whether a table has a rule.
func (t Tables) Has(table, rule string) bool { return slices.Contains(t[table], rule) }

// CompleteIPv4Rules adds rules to those of this machine. missing returns the lines of iptables-restore by table
// that the existing rules need; none = they are complete.
func CompleteIPv4Rules(ctx context.Context, missing func(have Tables) map[string][]string) error {
	saved, err := save(ctx, ipv4)
	if err != nil {
		return err
	}
	input := restoreInput(missing(ParseTables(saved)))
	if input == "" {
		return nil
	}
	return restoreOnHost(ctx, ipv4, input)
}

// restoreInput returns the input of iptables-restore with lines by table; "" = there are none.
func restoreInput(lines map[string][]string) string {
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "*%s\n%s\nCOMMIT\n", table, strings.Join(lines[table], "\n"))
	}
	return b.String()
}
