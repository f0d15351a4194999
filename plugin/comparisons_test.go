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

// proofs are the functions whose results prove something to whoever knows them: a comparison
// that ends at the first byte that differs tells how many were right.
var proofs = []string{"Reveal", "TokenHash", "NewToken", "Sign", "mac", "sum"}

// I1: what proves a secret is compared in constant time, everywhere.
func TestI1NoSecretIsComparedByteByByte(t *testing.T) {
	files := 0
	for _, room := range []string{"../plugin", "../runner", "../config"} {
		err := filepath.WalkDir(room, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (strings.HasSuffix(d.Name(), "test") || d.Name() == "demo") {
				return fs.SkipDir // it stands for others, and keeps no secret of anybody
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			files++
			for _, at := range leakyComparisons(t, path, nil) {
				t.Errorf("%s compares what proves a secret; use hmac.Equal or Secret.Equal", at)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 200 {
		t.Errorf("only %d files were read", files)
	}
	bad := "package p\nfunc f() bool { return mac(x) == y || bytes.Equal(sum(b, s), given) || s.Reveal() != t || s.Reveal() == \"\" }\n"
	if got := leakyComparisons(t, "bad.go", bad); len(got) != 3 {
		t.Errorf("of three leaky comparisons it finds %v", got)
	}
}

// leakyComparisons returns the places where a proof is compared; src nil reads the file.
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
			if name := called(
				n,
			); slices.Contains(
				[]string{
					"bytes.Equal",
					"bytes.Compare",
					"strings.Compare",
					"strings.EqualFold",
					"slices.Equal",
					"reflect.DeepEqual",
				},
				name,
			) {
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

// isLiteral allows the question whether there is a secret at all.
func isLiteral(e ast.Expr) bool {
	_, ok := e.(*ast.BasicLit)
	return ok
}
