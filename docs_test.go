package allmend_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// page returns one of the documents.
func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows returns the cells of the rows of all tables of a page whose head begins
// with the given cell.
func rows(text, first string) [][]string {
	var out [][]string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		switch {
		case cells[0] == first:
			inside = true
		case inside && !strings.HasPrefix(cells[0], "---"):
			out = append(out, cells)
		}
	}
	return out
}

// fences returns the contents of a page's code blocks of one kind: what stands
// behind the three back-quotes.
func fences(text, kind string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		if m[1] == kind {
			out = append(out, m[2])
		}
	}
	return out
}

// code is what stands between the back-quotes of a cell.
func code(cell string) string { return strings.Trim(cell, "`") }

// TestConstants compares every constant in the documents with the code.
func TestConstants(t *testing.T) {
	packages := map[string]map[string]ast.Expr{}
	for _, name := range []string{"docs/formats.md", "docs/protocols.md", "docs/operation.md"} {
		found := rows(page(t, name), "constant")
		if len(found) == 0 {
			t.Errorf("%s has no table of constants", name)
		}
		for _, cells := range found {
			dot := strings.LastIndex(code(cells[0]), ".")
			dir, id := code(cells[0])[:max(dot, 0)], code(cells[0])[dot+1:]
			if packages[dir] == nil {
				packages[dir] = constants(t, dir)
			}
			got := value(packages[dir], id)
			if want := quantity(cells[1]); got == nil || want == nil || !constant.Compare(got, token.EQL, want) {
				t.Errorf("%s: %s is %s, the code says %v", name, code(cells[0]), cells[1], got)
			}
		}
	}
}

// constants returns the expressions of a package's constants by name.
func constants(t *testing.T, dir string) map[string]ast.Expr {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]ast.Expr{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.CONST {
				for _, spec := range d.Specs {
					s := spec.(*ast.ValueSpec)
					for i := range min(len(s.Names), len(s.Values)) {
						out[s.Names[i].Name] = s.Values[i]
					}
				}
			}
		}
	}
	return out
}

var durations = map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}

// value evaluates a constant of a package; nil if there is none of that name.
func value(all map[string]ast.Expr, id string) constant.Value {
	var eval func(e ast.Expr) constant.Value
	eval = func(e ast.Expr) constant.Value {
		switch e := e.(type) {
		case *ast.BasicLit:
			return constant.MakeFromLiteral(e.Value, e.Kind, 0)
		case *ast.ParenExpr:
			return eval(e.X)
		case *ast.Ident:
			return value(all, e.Name)
		case *ast.CallExpr: // len of a string
			if f, ok := e.Fun.(*ast.Ident); ok && f.Name == "len" {
				return constant.MakeInt64(int64(len(constant.StringVal(eval(e.Args[0])))))
			}
			return eval(e.Args[0]) // a conversion
		case *ast.SelectorExpr:
			return constant.MakeInt64(int64(durations[e.Sel.Name]))
		case *ast.BinaryExpr:
			x, y := eval(e.X), eval(e.Y)
			if x == nil || y == nil {
				return nil
			}
			if e.Op == token.SHL {
				n, _ := constant.Uint64Val(y)
				return constant.Shift(x, e.Op, uint(n))
			}
			if e.Op == token.QUO {
				return constant.BinaryOp(x, token.QUO_ASSIGN, y)
			}
			return constant.BinaryOp(x, e.Op, y)
		}
		return nil
	}
	if e, ok := all[id]; ok {
		return eval(e)
	}
	return nil
}

// quantity reads what a table says: a quoted string, an integer, or an integer
// with a unit.
func quantity(text string) constant.Value {
	if strings.HasPrefix(text, `"`) {
		return constant.MakeFromLiteral(text, token.STRING, 0)
	}
	units := map[string]int64{
		"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"ms": int64(time.Millisecond), "s": int64(time.Second), "min": int64(time.Minute),
	}
	number, unit, _ := strings.Cut(text, " ")
	n := constant.MakeFromLiteral(number, token.INT, 0)
	if units[unit] == 0 || n.Kind() == constant.Unknown {
		return nil
	}
	return constant.BinaryOp(n, token.MUL, constant.MakeInt64(units[unit]))
}

// declared returns the receivers of a method in package verify/run.
func declared(t *testing.T, method string) []string {
	t.Helper()
	var out []string
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.pkg == "verify/run" && !s.test && f.Recv != nil && f.Name.Name == method {
				out = append(out, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestStatements compares the documented EIP-712 types with the code's.
func TestStatements(t *testing.T) {
	var kinds []string
	documented := map[string]string{}
	for _, cells := range rows(page(t, "docs/formats.md"), "kind") {
		kinds = append(kinds, cells[0])
		documented[cells[0]] = code(cells[1])
	}
	slices.Sort(kinds)
	if want := declared(t, "Kind"); !slices.Equal(kinds, want) {
		t.Errorf("the page has the statements %v, the code %v", kinds, want)
	}
	for _, s := range []run.Statement{
		run.Accept{}, run.Member{}, run.Control{}, run.Ready{}, run.Commit{}, run.Result{}, run.Fault{}, run.Expire{},
		run.Head{}, run.Checkpoint{}, run.Rewind{}, run.Revocation{}, run.ShardManifest{},
	} {
		want, err := s.Struct().Type()
		if err != nil {
			t.Fatal(err)
		}
		if got := documented[s.Kind()]; got != want {
			t.Errorf("the page says %s, the code %s", got, want)
		}
	}
}

// TestTransitions compares the documented keys of transitions with the code's.
func TestTransitions(t *testing.T) {
	all := []run.Transition{
		run.Started{}, run.Open{}, run.Ring{}, run.Closed{}, run.Aborted{}, run.Skipped{}, run.Halted{}, run.Paused{}, run.Resumed{},
		run.Finishing{}, run.Finished{}, run.Rewound{}, run.Expired{}, run.Changed{}, run.Checkpointed{}, run.CheckpointSigned{}, run.Equivocation{},
	}
	if want := declared(t, "Name"); len(all) != len(want) {
		t.Errorf("this test knows %d transitions, the code has %d", len(all), len(want))
	}
	documented := rows(page(t, "docs/formats.md"), "transition")
	if len(documented) != len(all) {
		t.Fatalf("the page has %d transitions, the code %d", len(documented), len(all))
	}
	for i, transition := range all {
		cells := documented[i]
		if keys := strings.Join(jsonKeys(reflect.TypeOf(transition)), " "); cells[0] != transition.Name() || code(cells[1]) != keys {
			t.Errorf("row %d: the page has %s (%s), the code %s (%s)", i+1, cells[0], code(cells[1]), transition.Name(), keys)
		}
	}
}

func jsonKeys(of reflect.Type) []string {
	var keys []string
	for i := range of.NumField() {
		key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	return keys
}

// TestSpecKeys compares the documented keys of a Spec with the code's.
func TestSpecKeys(t *testing.T) {
	var documented []string
	for _, cells := range rows(page(t, "docs/formats.md"), "key") {
		for key := range strings.SplitSeq(cells[0], ", ") {
			documented = append(documented, code(key))
		}
	}
	if keys := jsonKeys(reflect.TypeFor[run.Spec]()); !slices.Equal(documented, keys) {
		t.Errorf("the page has %v, the code %v", documented, keys)
	}
}

// TestExamples checks every digest that the page of formats gives.
func TestExamples(t *testing.T) {
	text := page(t, "docs/formats.md")
	one := func(kind string) []byte {
		blocks := fences(text, kind)
		if len(blocks) != 1 {
			t.Fatalf("%d blocks of %s, want 1", len(blocks), kind)
		}
		return []byte(strings.TrimSuffix(blocks[0], "\n"))
	}
	holds := func(what string, value any) {
		if s := fmt.Sprint(value); !strings.Contains(text, "`"+s+"`") {
			t.Errorf("%s: the page does not give `%s`", what, s)
		}
	}
	b := one("json spec")
	spec, err := run.ParseSpec(b)
	if err != nil {
		t.Fatal(err)
	}
	id := digest.Of(b)
	holds("run ID", id)
	if got := checkpoint.New(spec.Model, spec.Model.Init(1)).Root(); got != spec.InitialState {
		t.Errorf("the initial state is %s, the example says %s", got, spec.InitialState)
	}
	signed, err := run.ParseSigned(one("json signed"))
	if err != nil {
		t.Fatal(err)
	}
	if signers, err := signed.Signers(id); err != nil || !slices.Equal(signers, spec.Coordinators) {
		t.Errorf("the example is signed by %v, %v", signers, err)
	}
	hash, err := identity.Hash(id, signed.Statement)
	if err != nil {
		t.Fatal(err)
	}
	holds("signing hash", fmt.Sprintf("0x%x", hash))
	if _, err := run.ParseRecord(id, one("json record")); err != nil {
		t.Error(err)
	}
	holds("root of three leaves", digest.Root([]digest.Sum{digest.Leaf([]byte("a")), digest.Leaf([]byte("b")), digest.Leaf([]byte("c"))}))
	if run.NoRevocations != digest.Of([]byte("[]")) {
		t.Error("revocations are not the SHA-256 of []")
	}
}

// TestLinks checks that the documents' links to files lead somewhere.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	for _, name := range append(pages, "README.md", "CHANGELOG.md") {
		for _, m := range link.FindAllStringSubmatch(page(t, name), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			}
		}
	}
}

// TestProtocols compares the documented protocol names with the code's.
func TestProtocols(t *testing.T) {
	text := page(t, "docs/protocols.md")
	named := regexp.MustCompile(`"(/allmend/[^"]*)"`)
	found := 0
	for _, s := range sources(t) {
		if s.test || s.pkg != "node" {
			continue
		}
		for _, m := range named.FindAllStringSubmatch(page(t, s.path), -1) {
			found++
			if !strings.Contains(text, "`"+m[1]+"`") {
				t.Errorf("%s speaks %s, which docs/protocols.md does not name", s.path, m[1])
			}
		}
	}
	if documented := strings.Count(text, "`/allmend/"); documented != found {
		t.Errorf("docs/protocols.md names %d protocols, the code %d", documented, found)
	}
}

// TestNamedTests checks that tests and benchmarks that the documents name exist.
func TestNamedTests(t *testing.T) {
	exist := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				exist[f.Name.Name] = true
			}
		}
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(pages, "README.md") {
		for _, test := range regexp.MustCompile(`\b(Test|Benchmark|Fuzz)[A-Z]\w+`).FindAllString(page(t, name), -1) {
			if !exist[test] {
				t.Errorf("%s names %s, which does not exist", name, test)
			}
		}
	}
}

// TestDependencies checks that docs/dependencies.md has every module that this
// one requires itself, in the version it requires.
func TestDependencies(t *testing.T) {
	table := rows(page(t, "docs/dependencies.md"), "module")
	for line := range strings.Lines(page(t, "go.mod")) {
		words := strings.Fields(line)
		if len(words) != 2 || !strings.HasPrefix(words[1], "v") || !strings.Contains(words[0], ".") {
			continue // other lines, and indirect ones, have more or fewer words
		}
		row := slices.IndexFunc(table, func(cells []string) bool {
			return slices.ContainsFunc(strings.Split(cells[0], ", "), func(m string) bool {
				return m == words[0] || !strings.Contains(m, "github.com") && strings.HasSuffix(words[0], "/"+m)
			})
		})
		if row < 0 {
			t.Errorf("docs/dependencies.md lacks %s", words[0])
		} else if cells := table[row]; !strings.Contains(cells[0], ",") && cells[1] != words[1] {
			t.Errorf("docs/dependencies.md has %s %s, go.mod %s", words[0], cells[1], words[1])
		}
	}
}

// TestPackageTable checks that the README and the design list every package of
// the floor plan, in its order.
func TestPackageTable(t *testing.T) {
	for name, format := range map[string]string{"README.md": "[%[1]s](%[1]s)", "docs/design.md": "`%s`"} {
		rest := page(t, name)
		for line := range strings.Lines(floorPlan) {
			words := strings.Fields(line)
			if len(words) < 3 {
				continue
			}
			at := 0
			for _, p := range words[2:] {
				i := strings.Index(rest, fmt.Sprintf(format, p))
				if i < 0 {
					t.Errorf("%s: %s is missing or stands before an upper floor", name, p)
				}
				at = max(at, i)
			}
			rest = rest[at:]
		}
	}
}
