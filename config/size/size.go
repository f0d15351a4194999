// Package size parses and prints numbers of bytes in decimal units, for example "20GB".
package size

import (
	"fmt"

	"github.com/docker/go-units"
)

// Parse returns the number of bytes of a text such as 20GB, 1.5 TB or 1000. The units are decimal: 1 kB has
// 1000 bytes. A size is 0 or more.
func Parse(text string) (int64, error) {
	bytes, err := units.FromHumanSize(text)
	if err != nil || bytes < 0 { // a number that is too large overflows
		return 0, fmt.Errorf("%q is not a size: set one, for example 20GB", text)
	}
	return bytes, nil
}

// ParseOptional is like Parse, and returns 0 for an empty text.
func ParseOptional(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	return Parse(text)
}

// Format returns a number of bytes as text with at most four digits, for example "4 GB" for 4,000,000,000.
func Format(bytes int64) string {
	return units.CustomSize("%.4g %s", float64(bytes), 1000, []string{"B", "kB", "MB", "GB", "TB", "PB"})
}
