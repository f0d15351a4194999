package table_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/settings/table"
)

// values holds the settings of the tests' table.
type values struct {
	tags, mirrors []string
	push          bool
	mode, target  string
	token         secret.Secret
}

func rows() table.Table[values] {
	return table.Table[values]{
		{
			Name: "PLUGIN_TAGS", Aliases: []string{"PLUGIN_TAG"}, Default: "latest", Help: "tags to push",
			Set: table.List(func(v *values) *[]string { return &v.tags }),
		},
		{
			Name: "PLUGIN_PUSH", Default: "false", Help: "true: push",
			Set: table.Bool(func(v *values) *bool { return &v.push }),
		},
		{
			Name: "PLUGIN_MODE", Default: "fast", Help: "fast or small",
			Set: table.OneOf(func(v *values) *string { return &v.mode }, "fast", "small", "none"),
		},
		{
			Name: "PLUGIN_TARGET", Help: "stage", Unset: "the last", Needs: "PLUGIN_PUSH",
			Set: table.Text(func(v *values) *string { return &v.target }),
		},
		{
			Name: "PLUGIN_TOKEN", Env: []string{"TOKEN"}, Help: "token", Secret: true, Conflicts: "PLUGIN_MIRROR",
			Set: table.Secret(func(v *values) *secret.Secret { return &v.token }),
		},
		{
			Name: "PLUGIN_MIRROR", Help: "mirrors",
			Set: table.List(func(v *values) *[]string { return &v.mirrors }),
		},
		{Name: "PLUGIN_MTU", Help: "does nothing", NoEffect: "there is no daemon"},
		{Name: "PLUGIN_BIP", Help: "does nothing", NoEffect: "there is no daemon"},
		{Name: "CARD_PATH", Unlisted: true},
	}
}

func TestValuesComeFromTheFirstVariableThatIsSet(t *testing.T) {
	for _, test := range []struct {
		given        map[string]string
		tags, origin string
	}{
		{nil, "latest", table.Default},
		{map[string]string{"PLUGIN_TAGS": ""}, "latest", table.Default},
		{map[string]string{"PLUGIN_TAGS": "a, b"}, "a b", "PLUGIN_TAGS"},
		{map[string]string{"PLUGIN_TAG": "a"}, "a", "PLUGIN_TAG"},
		{map[string]string{"PLUGIN_TAG": "a", "PLUGIN_TAGS": "a"}, "a", "PLUGIN_TAGS"},
	} {
		var got values
		report, err := rows().Read(test.given, &got)
		if err != nil {
			t.Errorf("%v: %v", test.given, err)
		}
		if tags := strings.Join(got.tags, " "); tags != test.tags {
			t.Errorf("%v: got tags %q, want %q", test.given, tags, test.tags)
		}
		if origin := report.Origins["PLUGIN_TAGS"]; origin != test.origin {
			t.Errorf("%v: got origin %q, want %q", test.given, origin, test.origin)
		}
	}
}

func TestErrorsNameEverySetting(t *testing.T) {
	var got values
	_, err := rows().Read(map[string]string{
		"PLUGIN_TAGS": "a", "PLUGIN_TAG": "b", "PLUGIN_PUSH": "2", "PLUGIN_MODE": "x",
		"TOKEN": "t", "PLUGIN_MIRROR": "m",
	}, &got)
	for _, want := range []string{
		"PLUGIN_TAGS and PLUGIN_TAG are one setting",
		`PLUGIN_PUSH is "2"`,
		`PLUGIN_MODE is "x": use fast, small or none`,
		"TOKEN and PLUGIN_MIRROR are both set",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("read: got error %v, want %q in it", err, want)
		}
	}
	required := table.Table[values]{{Name: "PLUGIN_REPO", Env: []string{"REPO"}, Required: "give a name"}}
	_, err = required.Read(map[string]string{"REPO": ""}, &got)
	if want := "REPO is not set: give a name"; err == nil || err.Error() != want {
		t.Errorf("read: got error %v, want %s", err, want)
	}
}

func TestSettingsWithoutEffectAreNoted(t *testing.T) {
	for _, test := range []struct {
		given map[string]string
		want  []string
	}{
		{map[string]string{"PLUGIN_TARGET": "x"}, []string{"PLUGIN_TARGET is not used: PLUGIN_PUSH is not true"}},
		{map[string]string{"PLUGIN_TARGET": "x", "PLUGIN_PUSH": "true"}, []string{}},
		{map[string]string{"PLUGIN_MTU": "1"}, []string{"PLUGIN_MTU has no effect: there is no daemon"}},
		{map[string]string{"PLUGIN_MTU": "1", "PLUGIN_BIP": "false"}, []string{"PLUGIN_MTU has no effect: there is no daemon"}},
		{map[string]string{"PLUGIN_MTU": "1", "PLUGIN_BIP": "2"}, []string{"PLUGIN_MTU, PLUGIN_BIP have no effect: there is no daemon"}},
	} {
		var got values
		report, err := rows().Read(test.given, &got)
		if err != nil {
			t.Errorf("%v: %v", test.given, err)
		}
		if !slices.Equal(report.Notes, test.want) {
			t.Errorf("%v: got notes %q, want %q", test.given, report.Notes, test.want)
		}
	}
}

func TestSecretsAreRemovedFromTheEnvironment(t *testing.T) {
	given := map[string]string{"PLUGIN_TOKEN": "a", "TOKEN": "a", "PLUGIN_TAGS": "b"}
	all := rows()
	var removed []string
	unset := func(name string) error { removed = append(removed, name); return nil }
	if err := all.RemoveSecrets(given, unset); err != nil {
		t.Fatal(err)
	}
	if want := []string{"PLUGIN_TOKEN", "TOKEN"}; !slices.Equal(removed, want) {
		t.Errorf("removed variables: got %q, want %q", removed, want)
	}
	removed = nil
	all[4].KeepEnv = true
	if err := all.RemoveSecrets(given, unset); err != nil {
		t.Fatal(err)
	}
	if want := []string{"PLUGIN_TOKEN"}; !slices.Equal(removed, want) {
		t.Errorf("with KeepEnv: got %q, want %q", removed, want)
	}
}

// Within copies every field of a row, also one that is added later.
func TestWithinKeepsTheRow(t *testing.T) {
	var row table.Row[values]
	v := reflect.ValueOf(&row).Elem()
	for i := range v.NumField() {
		switch field := v.Field(i); field.Kind() {
		case reflect.String:
			field.SetString("text")
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Slice:
			field.Set(reflect.ValueOf([]string{"one"}))
		}
	}
	row.Set = table.Bool(func(v *values) *bool { return &v.push })
	type outer struct{ values values }
	got := table.Within(table.Table[values]{row}, func(o *outer) *values { return &o.values })[0]
	w := reflect.ValueOf(got)
	for i := range w.NumField() {
		if w.Field(i).IsZero() {
			t.Errorf("field %s: got no value, want the copied one", w.Type().Field(i).Name)
		}
	}
	var o outer
	if err := got.Set(&o, "PLUGIN_PUSH", "yes"); err != nil || !o.values.push {
		t.Errorf("Set: got %t, error %v, want true", o.values.push, err)
	}
}

// A row declares a setting. All else derives from it.
func ExampleTable_Read() {
	given := map[string]string{"PLUGIN_TAG": "1.2,1", "TOKEN": "hush"}
	all := rows()
	var v values
	report, err := all.Read(given, &v)
	fmt.Println(v.tags, v.mode, v.token, err)
	for _, s := range all.Shown(given, report.Origins)[:2] {
		fmt.Printf("%s = %s, from %s\n", s.Name, s.Value, s.Origin)
	}
	fmt.Println(all.CheckNames(map[string]string{"PLUGIN_TAGZ": "1"}))
	fmt.Println(all.Settings()[5].Help)
	// Output:
	// [1.2 1] fast *** <nil>
	// PLUGIN_TAGS = 1.2,1, from PLUGIN_TAG
	// PLUGIN_TAG = 1.2,1, from PLUGIN_TAG
	// PLUGIN_TAGZ (did you mean PLUGIN_TAGS?): this step has no such setting; remove it (`slipway runner --help` lists them)
	// token; default: TOKEN; removed from the environment after reading
}
