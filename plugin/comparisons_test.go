package plugin_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// proofs are the functions that return secrets. A comparison that stops at the first wrong byte
// reveals by its duration how many bytes are right.
var proofs = []string{"Reveal", "TokenHash", "NewToken", "Sign", "mac", "sum"}

// comparisons are functions that may stop at the first difference.
var comparisons = []string{
	"bytes.Equal", "bytes.Compare", "strings.Compare", "strings.EqualFold", "slices.Equal", "reflect.DeepEqual",
}

// I1: secrets are compared in constant time everywhere.
func TestI1SecretsAreComparedInConstantTime(t *testing.T) {
	files := 0
	for _, dir := range []string{"../plugin", "../runner", "../config"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (strings.HasSuffix(d.Name(), "test") || d.Name() == "demo") {
				return fs.SkipDir // test doubles hold no real secrets
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			files++
			for _, at := range leakyComparisons(t, path, nil) {
				t.Errorf("%s: got a comparison of a secret, want hmac.Equal or Secret.Equal", at)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 200 {
		t.Errorf("files: got %d, want at least 200", files)
	}
	bad := "package p\nfunc f() bool { return mac(x) == y || bytes.Equal(sum(b, s), given) || s.Reveal() != t || s.Reveal() == \"\" }\n"
	if got := leakyComparisons(t, "bad.go", bad); len(got) != 3 {
		t.Errorf("leaky comparisons: got %v, want three comparisons", got)
	}
}

// leakyComparisons returns the positions of comparisons of secrets. It reads the file if src is nil.
func leakyComparisons(t *testing.T, path string, src any) (places []string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		var sides []ast.Expr
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				sides = []ast.Expr{n.X, n.Y}
			}
		case *ast.CallExpr:
			if slices.Contains(comparisons, called(n)) {
				sides = n.Args
			}
		}
		if slices.ContainsFunc(sides, isProof) && !slices.ContainsFunc(sides, isLiteral) {
			places = append(places, set.Position(n.Pos()).String())
		}
		return true
	})
	return places
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
		return "." + f.Sel.Name
	}
	return ""
}

func isProof(e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			name := called(c)
			if name == "len" || strings.HasSuffix(name, ".ConstantTimeCompare") || strings.HasSuffix(name, ".Equal") {
				return false
			}
			found = found || slices.Contains(proofs, name[strings.LastIndex(name, ".")+1:])
		}
		return !found
	})
	return found
}

// isLiteral reports whether an expression is a literal. A comparison with "" only checks if a secret
// is set.
func isLiteral(e ast.Expr) bool {
	_, ok := e.(*ast.BasicLit)
	return ok
}
