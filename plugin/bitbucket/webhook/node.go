package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// maxCounted is the maximum number of list elements that are counted after the limit.
const maxCounted = 100_000

// A node is one position in a payload. It is absent if raw is empty. An error on the path to it
// is kept until a caller reads the value.
type node struct {
	path string // for example push.changes[3].new; empty at the root
	raw  json.RawMessage
	err  error
}

// An object is a node with parsed fields.
type object struct {
	path   string
	fields map[string]json.RawMessage
	err    error
}

func (n node) isNull() bool {
	return n.err == nil && (len(n.raw) == 0 || string(n.raw) == "null")
}

// object parses the fields. An absent object has no fields.
func (n node) object() object {
	o := object{path: n.path, err: n.err}
	if n.err != nil || (n.isNull() && n.path != "") {
		return o
	}
	if err := json.Unmarshal(n.raw, &o.fields); err != nil {
		o.err = n.typeError("an object", err)
	} else if o.fields == nil {
		o.err = n.typeError("an object", nil)
	}
	return o
}

func (o object) get(name string) node {
	path := name
	if o.path != "" {
		path = o.path + "." + name
	}
	return node{path: path, raw: o.fields[name], err: o.err}
}

// text returns a string that must be present and not empty.
func (n node) text() (string, error) {
	if n.err != nil {
		return "", n.err
	}
	if n.isNull() {
		return "", n.fault("missing")
	}
	var s string
	if err := json.Unmarshal(n.raw, &s); err != nil {
		return "", n.typeError("a string", nil)
	}
	if s == "" {
		return "", n.fault("empty")
	}
	return s, nil
}

// textOrNone returns the string, or "" if it is absent or invalid.
func (n node) textOrNone() string {
	s, err := n.text()
	if err != nil {
		return ""
	}
	return s
}

// digits returns a whole number, for example an id. It also accepts a quoted number.
func (n node) digits() (string, error) {
	if n.err != nil {
		return "", n.err
	}
	if n.isNull() {
		return "", n.fault("missing")
	}
	s := string(bytes.Trim(n.raw, `"`))
	id, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return "", n.typeError("a whole number", nil)
	}
	return strconv.FormatUint(id, 10), nil
}

func (n node) digitsOrNone() string {
	s, err := n.digits()
	if err != nil {
		return ""
	}
	return s
}

func (n node) isTrue() bool { return string(n.raw) == "true" }

// list returns the first limit elements and the number of further ones, counted up to maxCounted.
// It decodes a stream, so that millions of empty elements cost neither memory nor time.
func (n node) list(limit int) (items []node, more int, err error) {
	if n.err != nil {
		return nil, 0, n.err
	}
	if n.isNull() {
		return nil, 0, n.fault("missing")
	}
	d := json.NewDecoder(bytes.NewReader(n.raw))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return nil, 0, n.typeError("a list", nil)
	}
	var rest json.RawMessage
	for i := 0; d.More() && more < maxCounted; i++ {
		if i >= limit {
			if err := d.Decode(&rest); err != nil {
				return nil, 0, n.typeError("a list", err)
			}
			more++
			continue
		}
		item := node{path: fmt.Sprintf("%s[%d]", n.path, i)}
		if err := d.Decode(&item.raw); err != nil {
			return nil, 0, n.typeError("a list", err)
		}
		items = append(items, item)
	}
	return items, more, nil
}

func (n node) fault(what string) error {
	return fmt.Errorf("%s: %s", n.place(), what)
}

// typeError returns an error with the found type and the wanted type.
func (n node) typeError(want string, err error) error {
	var syntax *json.SyntaxError
	switch {
	case len(bytes.TrimSpace(n.raw)) == 0:
		return n.fault("empty, " + want + " is expected")
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: not valid JSON at byte %d: %w", n.place(), syntax.Offset, err)
	}
	return n.fault(typeOf(n.raw) + " in place of " + want)
}

func (n node) place() string {
	if n.path == "" {
		return "payload"
	}
	return n.path
}

func typeOf(raw json.RawMessage) string {
	switch bytes.TrimSpace(raw)[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
