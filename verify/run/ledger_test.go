package run_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// TestAssignAgainstDumb deals random rosters and compares every unit with the
// rule as it is written.
func TestAssignAgainstDumb(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	spec := testSpec(t)
	for range 300 {
		spec.Unit = 1 + r.IntN(4)
		spec.Batch = spec.Unit * (1 + r.IntN(20))
		ledger := run.NewLedger()
		for range r.IntN(4) { // some samples have come back
			_, ledger = ledger.Take(uint64(1 + r.IntN(30)))
			if consumed := ledger.Assigned[0]; consumed.Len() > 3 {
				ledger, _ = ledger.Consume([]run.Range{{Start: consumed.Start + 1, End: consumed.End - 1}})
			}
			ledger = ledger.Return()
		}
		roster := make([]identity.Address, 1+r.IntN(9))
		spans, next := run.Assign(spec, ledger, roster)
		if err := next.Check(); err != nil {
			t.Fatal(err)
		}
		want := run.Positions(ledger.Free) // the dumb way: a queue
		for p := ledger.Cursor; len(want) < spec.Batch; p++ {
			want = append(want, p)
		}
		want = want[:spec.Batch]
		var got []uint64
		units := spec.Batch / spec.Unit
		for i, s := range spans {
			if n := s.Units(spec); s.Member != i || n < units/len(roster) || n > units/len(roster)+1 {
				t.Fatalf("member %d of %d gets %d of %d units", i, len(roster), n, units)
			}
			for u := range s.Units(spec) {
				got = append(got, run.Positions(s.Unit(spec, u))...)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("dealt %v, want %v", got, want)
		}
		if left := next.Return(); left.Cursor != next.Cursor || run.Count(left.Assigned) != 0 || left.Check() != nil {
			t.Fatalf("returned: %+v", left)
		}
	}
}

func TestLedgerIsAValue(t *testing.T) {
	before := run.NewLedger()
	_, a := before.Take(10)
	keep := clone(a)
	b, err := a.Consume([]run.Range{{Start: 2, End: 4}, {Start: 6, End: 8}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, keep) {
		t.Errorf("Consume changed its receiver: %+v", a)
	}
	c, err := b.Reject([]run.Range{{Start: 4, End: 6}})
	if err != nil {
		t.Fatal(err)
	}
	want := run.Ledger{
		Cursor: 10, Free: []run.Range{{Start: 0, End: 2}, {Start: 8, End: 10}}, Assigned: []run.Range{},
		Consumed: []run.Range{{Start: 2, End: 4}, {Start: 6, End: 8}}, Rejected: []run.Range{{Start: 4, End: 6}},
	}
	if got := c.Return(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	d, err := c.Return().Rewind([]run.Range{{Start: 2, End: 4}, {Start: 6, End: 8}}, []run.Range{{Start: 4, End: 6}})
	if err != nil || !reflect.DeepEqual(d.Free, []run.Range{{Start: 0, End: 10}}) || len(d.Consumed)+len(d.Rejected) != 0 {
		t.Errorf("rewound: %+v, %v", d, err)
	}
	if got := c.Return().Digest().String(); got != "966b1f8d02fca5fba685199acf99f3b736bbd73133f6d0ac75d09c4e5cd6cb61" {
		t.Errorf("digest %s", got)
	}
}

func clone(l run.Ledger) run.Ledger {
	for _, set := range []*[]run.Range{&l.Free, &l.Assigned, &l.Consumed, &l.Rejected} {
		*set = append([]run.Range{}, *set...)
	}
	return l
}

func TestLedgerRefuses(t *testing.T) {
	_, l := run.NewLedger().Take(10)
	l, err := l.Consume([]run.Range{{Start: 0, End: 2}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][]run.Range{{{Start: 0, End: 2}}, {{Start: 1, End: 3}}, {{Start: 9, End: 11}}, {{Start: 4, End: 6}, {Start: 5, End: 7}}} {
		if _, err := l.Consume(r); err == nil {
			t.Errorf("%v is consumed, though it is not assigned once", r)
		}
	}
	if _, err := l.Rewind([]run.Range{{Start: 4, End: 5}}, nil); err == nil {
		t.Error("samples that were never consumed are rewound")
	}
	for _, bad := range []run.Ledger{
		{Cursor: 1},
		{Cursor: 2, Free: []run.Range{{Start: 0, End: 1}}},
		{Cursor: 2, Free: []run.Range{{Start: 0, End: 1}, {Start: 1, End: 2}}},
		{Cursor: 2, Free: []run.Range{{Start: 0, End: 2}}, Consumed: []run.Range{{Start: 1, End: 2}}},
		{Cursor: 2, Free: []run.Range{{Start: 0, End: 1}}, Consumed: []run.Range{{Start: 2, End: 3}}},
		{Cursor: 1, Free: []run.Range{{Start: 1, End: 1}}},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v is a ledger", bad)
		}
	}
	b, err := canonical.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var back run.Ledger
	if err := canonical.Unmarshal(b, &back, 1<<20); err != nil || !reflect.DeepEqual(back, l) {
		t.Errorf("%s gives %+v, %v", b, back, err)
	}
}

func TestRejectedUnits(t *testing.T) {
	spec := testSpec(t)
	spec.Unit = 2
	span := run.Span{Ranges: []run.Range{{Start: 3, End: 6}, {Start: 10, End: 15}}}
	good, bad := span.Split(spec, "1,3")
	if want := []run.Range{{Start: 3, End: 5}, {Start: 11, End: 13}}; !slices.Equal(good, want) {
		t.Errorf("good %v, want %v", good, want)
	}
	if want := []run.Range{{Start: 5, End: 6}, {Start: 10, End: 11}, {Start: 13, End: 15}}; !slices.Equal(bad, want) {
		t.Errorf("bad %v, want %v", bad, want)
	}
	for _, text := range []string{"0-4", "2-1", "1-1", "1,2", "0-1,2", "0--1", "0-01", "4", "-1", "1,1", "3,1", "01", "1,", ",", " 1", "x", "+1"} {
		if _, err := run.ParseUnits(text, 4); err == nil {
			t.Errorf("%q is a list of units", text)
		}
	}
}

// TestSplitByHand compares Split with going through the samples one by one, on
// spans in many pieces.
func TestSplitByHand(t *testing.T) {
	spec := testSpec(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		spec.Unit = 1 + r.IntN(4)
		units := 1 + r.IntN(60)
		var span run.Span
		for left, at := uint64(units*spec.Unit), uint64(0); left > 0; {
			n := min(left, 1+r.Uint64N(5))
			at += r.Uint64N(3)
			span.Ranges = append(span.Ranges, run.Range{Start: at, End: at + n})
			left, at = left-n, at+n
		}
		var rejected []int
		runs := 0
		for u := range units {
			if r.IntN(3) == 0 {
				if n := len(rejected); n == 0 || rejected[n-1] != u-1 {
					runs++
				}
				rejected = append(rejected, u)
			}
		}
		text := run.FormatUnits(rejected)
		if back, err := run.ParseUnits(text, units); err != nil || !slices.Equal(back, rejected) {
			t.Fatalf("%v is written %q and read %v, %v", rejected, text, back, err)
		}
		var wantGood, wantBad []uint64
		for i, p := range run.Positions(span.Ranges) {
			if slices.Contains(rejected, i/spec.Unit) || runs > 16 {
				wantBad = append(wantBad, p)
			} else {
				wantGood = append(wantGood, p)
			}
		}
		good, bad := span.Split(spec, text)
		if !slices.Equal(run.Positions(good), wantGood) || !slices.Equal(run.Positions(bad), wantBad) {
			t.Fatalf("%v without %q: %v and %v", span.Ranges, text, good, bad)
		}
	}
}

// TestWholeSpanRejected: a run whose loss is lost everywhere can say so.
func TestWholeSpanRejected(t *testing.T) {
	all := make([]int, run.MaxBatch)
	for i := range all {
		all[i] = i
	}
	if got := run.FormatUnits(all); got != "0-65535" {
		t.Errorf("written as %.40q", got)
	}
}

// TestSampleIsABijection checks every epoch of small data sets, and golden
// values of a larger one.
func TestSampleIsABijection(t *testing.T) {
	spec := testSpec(t)
	orders := map[string]bool{}
	for _, n := range []int{1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000} {
		spec.Sequences = n
		for epoch := range 3 {
			seen := make([]bool, n)
			var order []byte
			for i := range n {
				x := run.Sample(spec, uint64(epoch*n+i))
				if x >= uint64(n) || seen[x] {
					t.Fatalf("epoch %d of %d samples: %d comes twice or is none", epoch, n, x)
				}
				seen[x] = true
				order = append(order, byte(x), byte(x>>8))
			}
			if n >= 16 && orders[string(order)] {
				t.Errorf("two epochs of %d samples have the same order", n)
			}
			orders[string(order)] = true
		}
	}
	spec.Sequences = 1 << 40
	var got []uint64
	for _, p := range []uint64{0, 1, 2, 1 << 39, 1 << 40, 5<<40 + 7} {
		got = append(got, run.Sample(spec, p))
	}
	if want := []uint64{467680207459, 978926184521, 255784160157, 614858046419, 1043320982438, 617281686102}; !slices.Equal(got, want) {
		t.Errorf("samples %v, want %v", got, want)
	}
}
