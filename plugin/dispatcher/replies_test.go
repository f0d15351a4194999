package dispatcher_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/dispatcher"
	"slipway/runner/spec"
)

// repliesTable is the documented list of what runners receive.
const repliesTable = "../../docs/security.md"

var engines = []string{"embedded", "own", "drone", "woodpecker"}

// documented returns the engines of each row of the table. A key is "reply field", for example
// "claim registries[].host".
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(repliesTable)
	must.Succeed(t, err)
	rows := map[string][]string{}
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !inside || !strings.HasPrefix(line, "|") {
			inside = line == "| reply | field | engines | opens |"
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		if strings.HasPrefix(cells[0], "---") {
			continue
		}
		if len(cells) != 4 || cells[3] == "" {
			t.Fatalf("table of %s: got row %q, want four cells, the last not empty", repliesTable, line)
		}
		rows[cells[0]+" "+cells[1]] = enginesOf(t, line, cells[2])
	}
	if len(rows) == 0 {
		t.Fatalf("table of replies in %s: got none, want one", repliesTable)
	}
	return rows
}

func enginesOf(t *testing.T, row, cell string) []string {
	t.Helper()
	if cell == "all" {
		return engines
	}
	names := strings.Split(cell, ", ")
	for _, name := range names {
		if !slices.Contains(engines, name) {
			t.Fatalf("table of %s: row %q: got the engine %q, want a known one", repliesTable, row, name)
		}
	}
	return names
}

// fill sets every field of a value, so that omitempty leaves none out.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[secret.Secret]() {
		v.Set(reflect.ValueOf(secret.New("x")))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("*").Convert(v.Type().Key()), value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	default:
		panic("cannot fill " + v.Type().String())
	}
}

// fieldsOf returns the paths of the fields of a JSON text, for example registries[].host. The keys of
// the maps whose paths are in maps become "*".
func fieldsOf(t *testing.T, wire []byte, maps []string) []string {
	t.Helper()
	var value any
	must.Succeed(t, json.Unmarshal(wire, &value))
	var all []string
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, field := range value {
				if slices.Contains(maps, path) {
					key = "*"
				}
				walk(strings.TrimPrefix(path+"."+key, "."), field)
			}
		case []any:
			for _, element := range value {
				walk(path+"[]", element)
			}
		default:
			all = append(all, path)
		}
	}
	walk("", value)
	slices.Sort(all)
	return slices.Compact(all)
}

// wantListed checks that all fields of a reply to an engine's runner are documented.
func wantListed(t *testing.T, rows map[string][]string, reply, engine string, fields []string) {
	t.Helper()
	if len(fields) == 0 {
		t.Errorf("%s on %s: got no fields, want some", reply, engine)
	}
	for _, field := range fields {
		listed, found := rows[reply+" "+field]
		if !found {
			t.Errorf("%s.%s: got no row in the table of %s, want one", reply, field, repliesTable)
		} else if engine != "" && !slices.Contains(listed, engine) {
			t.Errorf(
				"%s.%s: got a reply on %s, want only those in the table of %s: %v",
				reply,
				field,
				engine,
				repliesTable,
				listed,
			)
		}
	}
}

// The table lists all fields that a runner may receive, and no others.
func TestEveryFieldOfAReplyIsDocumented(t *testing.T) {
	rows := documented(t)
	var claim, join, probe bytes.Buffer
	var s spec.Spec
	fill(reflect.ValueOf(&s).Elem())
	must.Succeed(t, spec.EncodeSpec(&claim, s))
	wantListed(t, rows, "claim", "", fieldsOf(t, claim.Bytes(), nil))
	var j spec.PipelineReply
	fill(reflect.ValueOf(&j).Elem())
	must.Succeed(t, spec.EncodePipelineReply(&join, j))
	wantListed(t, rows, "join", "own", fieldsOf(t, join.Bytes(), nil))
	var p spec.ProbeReply
	fill(reflect.ValueOf(&p).Elem())
	must.Succeed(t, spec.EncodeProbe(&probe, p))
	for _, engine := range []string{"drone", "woodpecker"} {
		wantListed(t, rows, "probe", engine, fieldsOf(t, probe.Bytes(), nil))
	}
	sent := map[string][]string{}
	for reply, wire := range map[string][]byte{"claim": claim.Bytes(), "join": join.Bytes(), "probe": probe.Bytes()} {
		sent[reply] = fieldsOf(t, wire, nil)
	}
	for row := range rows {
		reply, field, _ := strings.Cut(row, " ")
		if !slices.Contains(sent[reply], field) {
			t.Errorf(
				"%s.%s: got a row in the table of %s, want none: the field is never sent",
				reply,
				field,
				repliesTable,
			)
		}
	}
}

// On each engine, the reply to a claim has only fields that the table lists for that engine.
func TestTheFieldsOfAClaimAreDocumentedForItsEngine(t *testing.T) {
	rows := documented(t)
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			e := newEnv(t, 2)
			if engine == "drone" || engine == "woodpecker" {
				e.Dispatcher = dispatcher.New(dispatcher.Options{
					Store:     e.store,
					Connector: e.account,
					Now:       e.clock,
					Engines: map[string]dispatcher.Engine{
						engine: {Engine: e.engine, BuilderTLS: secret.New("builder secret")},
					},
				})
			}
			_, err := e.store.SaveRegistry(t.Context(), autobuild.Registry{
				Host:     "registry.example.com",
				Username: "robot",
				Password: secret.New("registry secret"),
				Insecure: true,
			})
			must.Succeed(t, err)
			b := e.build(e.owner)
			a, err := e.store.StartAttempt(t.Context(), b.ID, engine, "hash", e.now.Add(time.Hour), autobuild.Limits{})
			must.Succeed(t, err)
			s, err := e.Spec(t.Context(), a)
			must.Succeed(t, err)
			var wire bytes.Buffer
			must.Succeed(t, spec.EncodeSpec(&wire, s))
			wantListed(t, rows, "claim", engine, fieldsOf(t, wire.Bytes(), []string{"environment", "build_args"}))
		})
	}
}
