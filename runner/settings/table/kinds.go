package table

import (
	"fmt"
	"slices"
	"strings"

	"slipway/config/secret"
)

// Text stores the text as it is.
func Text[T any](field func(*T) *string) Setter[T] {
	return func(to *T, _, text string) error {
		*field(to) = text
		return nil
	}
}

// Secret stores the text as a secret.
func Secret[T any](field func(*T) *secret.Secret) Setter[T] {
	return func(to *T, _, text string) error {
		*field(to) = secret.New(text)
		return nil
	}
}

// Bool stores true or false, as ParseBool reads them.
func Bool[T any](field func(*T) *bool) Setter[T] {
	return func(to *T, name, text string) (err error) {
		*field(to), err = ParseBool(name, text)
		return err
	}
}

// OptionalBool stores true or false, and leaves the field nil if the setting is not set.
func OptionalBool[T any](field func(*T) **bool) Setter[T] {
	return func(to *T, name, text string) error {
		on, err := ParseBool(name, text)
		if err == nil {
			*field(to) = &on
		}
		return err
	}
}

// AllOf stores false if any setting of the same field is false. The field must be true before.
func AllOf[T any](field func(*T) *bool) Setter[T] {
	return func(to *T, name, text string) error {
		on, err := ParseBool(name, text)
		*field(to) = *field(to) && on
		return err
	}
}

// OnOff stores true for on and false for off.
func OnOff[T any](field func(*T) *bool) Setter[T] {
	return func(to *T, name, text string) error {
		if text != "on" && text != "off" {
			return fmt.Errorf("%s is %q: use on or off", name, text)
		}
		*field(to) = text == "on"
		return nil
	}
}

// OneOf stores one of at least two values.
func OneOf[T any, V ~string](field func(*T) *V, values ...V) Setter[T] {
	return func(to *T, name, text string) error {
		if !slices.Contains(values, V(text)) {
			return fmt.Errorf("%s is %q: use %s", name, text, alternatives(values))
		}
		*field(to) = V(text)
		return nil
	}
}

// alternatives returns "a, b or c".
func alternatives[V ~string](values []V) string {
	var text strings.Builder
	for i, value := range values {
		switch {
		case i > 0 && i == len(values)-1:
			text.WriteString(" or ")
		case i > 0:
			text.WriteString(", ")
		}
		text.WriteString(string(value))
	}
	return text.String()
}

// List stores the entries of a list, as ParseList reads them.
func List[T any](field func(*T) *[]string) Setter[T] {
	return func(to *T, name, text string) (err error) {
		*field(to), err = ParseList(name, text)
		return err
	}
}

// ParseBool reads true, 1, yes and on as true, and false, 0, no and off as false. It ignores case. name
// is the variable, for the error.
func ParseBool(name, text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		return true, nil
	}
	if isFalse(text) {
		return false, nil
	}
	return false, fmt.Errorf("%s is %q: use true or false", name, text)
}

func isFalse(text string) bool {
	return slices.Contains([]string{"false", "0", "no", "off"}, strings.ToLower(text))
}
