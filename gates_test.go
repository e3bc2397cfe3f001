package allmend_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/allmend-network/allmend"

// floorPlan says which package may import which: a row imports only rows above
// it, and a package may import those in its own folder. Test files may import
// their own row. It is a statement of policy (docs/design.md): change it in its
// own commit, with the reason, not to make a build pass.
const floorPlan = `
row 0  verify/digest verify/canonical trainer/exact trainer/model trainer/goldfish allreduce/codec
row 1  verify/identity shards/tokenizer trainer/cpu cuda trainer/devicetest allreduce
row 2  verify/run
row 3  shards trainer/checkpoint coordinator/state
row 4  shards/build shards/exchange trainer trainer/infer coordinator node/member
row 5  verify
row 6  verify/replay node
row 7  verify/cli cmd/allmend/demo
row 8  cmd/allmend cmd/allmend-verify
`

// sameRow lists the imports inside row 0 and between siblings that the plan
// allows by name, because they are the lower of two floors in one row.
var sameRow = map[string][]string{
	"verify/canonical": {"verify/digest"},
	"trainer/model":    {"trainer/exact"},
	"trainer/infer":    {"trainer"},
	"verify/forge":     {"verify"}, // tests of verify hold it against both,
	"verify/testrun":   {"verify"}, // so they live on its floor
}

// gates names the few packages that may import a heavy or unsafe dependency.
var gates = map[string][]string{
	"C":                                {},
	"unsafe":                           {"cuda", "trainer/cpu"},
	"github.com/ebitengine/purego":     {"cuda"},
	"github.com/libp2p/":               {"node", "shards/exchange"},
	"github.com/ipfs/boxo":             {"shards/exchange"},
	"github.com/hashicorp/raft":        {"coordinator"},
	"github.com/ethereum/go-ethereum/": {"verify/identity"},
	"math/rand":                        {},
	"testing":                          {"trainer/devicetest", "shards/storetest"},
}

// pure packages compute the same answer on every machine and every day: time,
// randomness and I/O reach them as arguments.
var pure = []string{"verify/run", "coordinator/state", "node/member"}

var impure = []string{"context", "crypto/rand", "log", "log/slog", "math/rand", "net", "os", "sync", "time"}

// hashed packages compute numbers that are signed; the standard library's
// transcendental functions differ between processors.
var hashed = []string{"trainer/exact", "trainer/model", "trainer/goldfish", "trainer/cpu", "trainer", "allreduce", "allreduce/codec", "verify/run", "coordinator/state", "node/member"}

var transcendental = []string{"Exp", "Exp2", "Expm1", "Log", "Log1p", "Log2", "Log10", "Pow", "Sin", "Cos", "Tan", "Tanh", "Sinh", "Cosh", "Cbrt", "Gamma", "Erf", "Hypot", "FMA"}

// source is one parsed Go file.
type source struct {
	path  string // slash-separated, from the root
	pkg   string // its folder
	test  bool
	file  *ast.File
	fset  *token.FileSet
	lines int
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(name)
		all = append(all, source{
			path: slash, pkg: path.Dir(slash), test: strings.HasSuffix(name, "_test.go"),
			file: f, fset: fset, lines: fset.File(f.Pos()).LineCount(),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func imports(s source) []string {
	var all []string
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			all = append(all, p)
		}
	}
	return all
}

// row returns the row of the longest planned folder that holds pkg: helpers in
// a package's own folder live on its floor.
func row(plan map[string]int, pkg string) (int, string) {
	for p := pkg; p != "."; p = path.Dir(p) {
		if r, ok := plan[p]; ok {
			return r, p
		}
	}
	return -1, ""
}

func plan() map[string]int {
	rows := map[string]int{}
	for line := range strings.Lines(floorPlan) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		n, err := strconv.Atoi(words[1])
		if err != nil {
			panic(line)
		}
		for _, p := range words[2:] {
			rows[p] = n
		}
	}
	return rows
}

func TestFloorPlan(t *testing.T) {
	rows := plan()
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if s.pkg == "." {
			continue
		}
		from, home := row(rows, s.pkg)
		if from < 0 {
			t.Errorf("%s: package %s is not on the floor plan", s.path, s.pkg)
			continue
		}
		seen[home] = true
		for _, p := range imports(s) {
			to, ok := strings.CutPrefix(p, module+"/")
			if !ok || s.pkg == to {
				continue
			}
			r, theirs := row(rows, to)
			within := theirs == home || strings.HasPrefix(to, s.pkg+"/")
			if r < 0 || r > from || r == from && !within && !s.test && !slices.Contains(sameRow[s.pkg], to) {
				t.Errorf("%s: %s (row %d) must not import %s (row %d)", s.path, s.pkg, from, to, r)
			}
		}
	}
	for p := range rows {
		if !seen[p] {
			t.Errorf("%s is on the floor plan but not in the tree", p)
		}
	}
}

func TestGates(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, p := range imports(s) {
			for prefix, may := range gates {
				if (p == prefix || strings.HasPrefix(p, strings.TrimSuffix(prefix, "/")+"/")) && !slices.Contains(may, s.pkg) {
					t.Errorf("%s: %s must not import %s", s.path, s.pkg, p)
				}
			}
			if slices.Contains(pure, s.pkg) && slices.ContainsFunc(impure, func(i string) bool { return p == i || strings.HasPrefix(p, i+"/") }) {
				t.Errorf("%s: %s is pure and must not import %s", s.path, s.pkg, p)
			}
		}
	}
}

// TestVerifierIsLight checks that the auditor's tool reaches no network code
// through any of our packages.
func TestVerifierIsLight(t *testing.T) {
	edges := map[string][]string{}
	for _, s := range sources(t) {
		if !s.test {
			edges[s.pkg] = append(edges[s.pkg], imports(s)...)
		}
	}
	seen := map[string]bool{}
	var visit func(pkg string)
	visit = func(pkg string) {
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		for _, p := range edges[pkg] {
			for _, heavy := range []string{"github.com/libp2p/", "github.com/ipfs/boxo", "github.com/hashicorp/raft"} {
				if strings.HasPrefix(p, heavy) {
					t.Errorf("allmend-verify reaches %s through %s", p, pkg)
				}
			}
			if ours, ok := strings.CutPrefix(p, module+"/"); ok {
				visit(ours)
			}
		}
	}
	visit("cmd/allmend-verify")
}

func TestPackageComments(t *testing.T) {
	documented, packages := map[string]string{}, map[string]string{}
	for _, s := range sources(t) {
		if s.test || s.file.Name.Name == "main" && s.file.Doc == nil {
			continue
		}
		packages[s.pkg] = s.file.Name.Name
		if s.file.Doc != nil {
			documented[s.pkg] = s.file.Doc.Text()
		}
	}
	for pkg, name := range packages {
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + path.Base(pkg) + " "
			if strings.HasPrefix(documented[pkg], "//go:build ignore") {
				continue
			}
		}
		if text := documented[pkg]; !strings.HasPrefix(text, want) || strings.Count(text, "\n") < 2 {
			t.Errorf("%s: the package comment must begin %q and have at least two lines", pkg, want)
		}
	}
}

// TestHabits refuses calls that the house does not make.
func TestHabits(t *testing.T) {
	for _, s := range sources(t) {
		inCmd := strings.HasPrefix(s.pkg, "cmd/") || s.file.Name.Name == "main"
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil && !inCmd {
					t.Errorf("%s: func init outside cmd", s.fset.Position(n.Pos()))
				}
			case *ast.CallExpr:
				call := selector(n.Fun)
				switch {
				case s.test && call == "time.Sleep":
					t.Errorf("%s: a test that sleeps", s.fset.Position(n.Pos()))
				case !s.test && !inCmd && (call == "os.Exit" || strings.HasPrefix(call, "log.Fatal")):
					t.Errorf("%s: %s outside cmd", s.fset.Position(n.Pos()), call)
				case !s.test && call == "io.ReadAll" && (len(n.Args) != 1 || !limited(n.Args[0])):
					t.Errorf("%s: io.ReadAll of something without a limit", s.fset.Position(n.Pos()))
				case !s.test && slices.Contains(hashed, s.pkg) && slices.Contains(transcendental, strings.TrimPrefix(call, "math.")) && strings.HasPrefix(call, "math."):
					t.Errorf("%s: %s in a package whose numbers are hashed", s.fset.Position(n.Pos()), call)
				}
			}
			return true
		})
	}
}

func limited(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	return ok && selector(call.Fun) == "io.LimitReader"
}

func selector(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
	}
	return ""
}

// TestBudgets keeps files and functions short enough to read.
func TestBudgets(t *testing.T) {
	const maxFile, maxP95 = 500, 60
	var functions []int
	for _, s := range sources(t) {
		if s.lines > maxFile+1 && !s.test {
			t.Errorf("%s has %d lines, at most %d are allowed", s.path, s.lines, maxFile)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil && !s.test {
				functions = append(functions, s.fset.Position(f.End()).Line-s.fset.Position(f.Pos()).Line+1)
			}
		}
	}
	slices.Sort(functions)
	if p95 := functions[len(functions)*95/100]; p95 > maxP95 {
		t.Errorf("95 %% of functions should have at most %d lines; they have up to %d", maxP95, p95)
	}
}

// TestDocuments keeps the standing text files in place.
func TestDocuments(t *testing.T) {
	for _, name := range []string{"README.md", "CHANGELOG.md", "LICENSE", ".ci/run", "docs/design.md", "docs/formats.md", "docs/protocols.md", "docs/numerics.md", "docs/threat-model.md", "docs/verify-by-hand.md", "docs/operation.md", "docs/dependencies.md", "docs/benchmarks.md"} {
		if matches, err := filepath.Glob(name); err != nil || len(matches) != 1 {
			t.Errorf("%s is missing", name)
		}
	}
}
