package bitbuckettest

import (
	"maps"
	"slices"
	"strings"
)

// trimFields applies the parameter "fields". Names select fields, names with a minus remove fields, and
// names with a plus change nothing here:
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#partial-response.
func trimFields(v object, fields string) object {
	var keep, drop []string
	for name := range strings.SplitSeq(fields, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "" || strings.HasPrefix(name, "+"):
		case strings.HasPrefix(name, "-"):
			drop = append(drop, name[1:])
		default:
			keep = append(keep, name)
		}
	}
	if len(keep) > 0 {
		v = pick(v, keep).(object)
	}
	for _, path := range drop {
		v = without(v, path).(object)
	}
	return v
}

// pick returns only these paths of v. It applies them to each element of a list.
func pick(v any, paths []string) any {
	if slices.Contains(paths, "*") {
		return v
	}
	switch v := v.(type) {
	case []object:
		kept := make([]object, len(v))
		for i, element := range v {
			kept[i] = pick(element, paths).(object)
		}
		return kept
	case object:
		kept := object{}
		for name, below := range byHead(paths) {
			value, ok := v[name]
			if !ok {
				continue
			}
			if len(below) > 0 {
				value = pick(value, below)
			}
			kept[name] = value
		}
		return kept
	default:
		return v
	}
}

// byHead groups dotted paths by their first name. A name without a dot selects the whole value.
func byHead(paths []string) map[string][]string {
	groups := map[string][]string{}
	for _, path := range paths {
		head, rest, deeper := strings.Cut(path, ".")
		if !deeper {
			rest = "*"
		}
		groups[head] = append(groups[head], rest)
	}
	return groups
}

// without returns v without the path.
func without(v any, path string) any {
	head, rest, deeper := strings.Cut(path, ".")
	switch v := v.(type) {
	case []object:
		kept := make([]object, len(v))
		for i, element := range v {
			kept[i] = without(element, path).(object)
		}
		return kept
	case object:
		kept := maps.Clone(v)
		if !deeper {
			delete(kept, head)
		} else if inner, ok := kept[head]; ok {
			kept[head] = without(inner, rest)
		}
		return kept
	default:
		return v
	}
}
