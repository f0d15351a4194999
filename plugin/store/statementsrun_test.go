package store_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipway/config/must"
)

// filesOfCommands have the statements of commands that read or write the whole database: backup, restore, rekey,
// export, and the checks of doctor and of the start.
func filesOfCommands() []string {
	return []string{
		"checkindex.go", "durability.go", "instance.go", "integrity.go", "keycheck.go", "keys.go", "postgres.go",
		"programversion.go", "reseal.go", "schema.go", "sealedcolumns.go", "snapshot.go", "snapshotcheck.go",
		"snapshotload.go", "sqlite.go",
	}
}

// renewLease is the only statement that the suite does not run. It changes a task by its id, like others.
const renewLease = `UPDATE tasks SET due_at = $3`

// checkAllRun checks that the suite runs each statement of the store. Otherwise its plan was not checked.
func checkAllRun(t *testing.T, texts []string) {
	if len(texts) < 100 {
		t.Fatalf("statements: got %d, want more: run this test together with the suite", len(texts))
	}
	var all strings.Builder
	for _, text := range texts {
		all.WriteString(oneLine(text) + "\n")
	}
	for place, part := range statementParts(t) {
		if part != renewLease && !strings.Contains(all.String(), part) {
			t.Errorf("%s: no test of the suite in storetest runs this part of a statement: %s", place, part)
		}
	}
}

// statementParts returns the parts of SQL statements in the code, by their places.
func statementParts(t *testing.T) map[string]string {
	t.Helper()
	statement := regexp.MustCompile(`\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|ORDER BY|FROM|JOIN)\b`)
	parts := map[string]string{}
	for _, dir := range []string{".", "queue"} {
		entries, err := os.ReadDir(dir)
		must.Succeed(t, err)
		for _, entry := range entries {
			name := filepath.Join(dir, entry.Name())
			if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") ||
				slices.Contains(filesOfCommands(), name) {
				continue
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
			must.Succeed(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(literal.Value)
				must.Succeed(t, err)
				text, _, _ = strings.Cut(oneLine(text), "%") // of fmt.Sprintf
				if statement.MatchString(text) {
					parts[files.Position(literal.Pos()).String()] = text
				}
				return true
			})
		}
	}
	return parts
}
