package bitbuckettest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQueries(t *testing.T) {
	items := []object{
		{"name": "Alpha", "private": true, "size": int64(7), "main": nil},
		{"name": `be"ta`, "private": false, "size": int64(9), "main": object{"name": "dev"}},
	}
	for query, want := range map[string][]string{
		``:                                       {"Alpha", `be"ta`},
		`name="Alpha"`:                           {"Alpha"},
		`name!="Alpha"`:                          {`be"ta`},
		`name~"ALPH"`:                            {"Alpha"},
		`name!~"alph"`:                           {`be"ta`},
		`name="be\"ta"`:                          {`be"ta`},
		`private=true`:                           {"Alpha"},
		`main=null`:                              {"Alpha"},
		`main != null`:                           {`be"ta`},
		`main.name = "dev"`:                      {`be"ta`},
		`size>7`:                                 {`be"ta`},
		`size>=7 AND size<=7`:                    {"Alpha"},
		`size<9 or name~"beta"`:                  {"Alpha"},
		`(name~"a" AND size=9) OR name="Alpha"`:  {"Alpha", `be"ta`},
		`name~"a" AND (size=9 OR name="nobody")`: {`be"ta`},
	} {
		kept, err := filter(items, query)
		var names []string
		for _, item := range kept {
			names = append(names, item["name"].(string))
		}
		if diff := cmp.Diff(want, names); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", query, err, diff)
		}
	}
	for _, query := range []string{`name`, `name=`, `name "x"`, `(name="x"`, `name="x" AND`, `name="x" name="y"`, `"name"="x"`, `name="x`, `)`} {
		if kept, err := filter(items, query); err == nil {
			t.Errorf("query %s: got %v, want an error", query, kept)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`type="commit_file" AND path~"ockerfile"`)
	f.Add(`(a=1 OR b!~"\"") AND c=null`)
	f.Fuzz(func(t *testing.T, query string) {
		items := []object{{"type": "commit_file", "path": "Dockerfile"}}
		kept, err := filter(items, query)
		if err != nil && kept != nil || len(kept) > len(items) {
			t.Errorf("query %q: got %v, error %v, want a part of the items or an error", query, kept, err)
		}
	})
}
