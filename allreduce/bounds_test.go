package allreduce

import (
	"testing"
	"testing/quick"
)

func TestBoundsTile(t *testing.T) {
	tiles := func(length uint32, members uint8) bool {
		L, n := int(length%(1<<26)), 1+int(members)
		end, least, most := 0, L, 0
		for c := range n {
			lo, hi := Bounds(L, n, c)
			if lo != end || hi < lo || lo != L && lo%Align != 0 {
				t.Logf("Bounds(%d, %d, %d) = %d, %d after %d", L, n, c, lo, hi, end)
				return false
			}
			end, least, most = hi, min(least, hi-lo), max(most, hi-lo)
		}
		return end == L && most-least <= 2*Align // one block, and a short last one
	}
	if err := quick.Check(tiles, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

func TestBoundsGolden(t *testing.T) {
	for _, g := range []struct{ length, n, c, lo, hi int }{
		{0, 3, 0, 0, 0}, {0, 3, 2, 0, 0},
		{5, 1, 0, 0, 5},
		{5, 3, 0, 0, 5}, {5, 3, 1, 5, 5}, {5, 3, 2, 5, 5},
		{4096, 2, 0, 0, 4096}, {4096, 2, 1, 4096, 4096},
		{4097, 2, 0, 0, 4096}, {4097, 2, 1, 4096, 4097},
		{1_000_000, 3, 0, 0, 335872}, {1_000_000, 3, 1, 335872, 671744}, {1_000_000, 3, 2, 671744, 1_000_000},
	} {
		if lo, hi := Bounds(g.length, g.n, g.c); lo != g.lo || hi != g.hi {
			t.Errorf("Bounds(%d, %d, %d) = %d, %d; want %d, %d", g.length, g.n, g.c, lo, hi, g.lo, g.hi)
		}
	}
}

func TestBoundsPanics(t *testing.T) {
	for _, g := range [][3]int{{-1, 1, 0}, {1, 0, 0}, {1, 2, 2}, {1, 2, -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Bounds(%v) did not panic", g)
				}
			}()
			Bounds(g[0], g[1], g[2])
		}()
	}
}

func TestPieceKeepsAlignment(t *testing.T) {
	if Piece%Align != 0 || 4*Piece > MaxPayload {
		t.Errorf("pieces of %d elements: want a multiple of %d that fits into %d bytes of float32", Piece, Align, MaxPayload)
	}
}

func TestPiecesTile(t *testing.T) {
	tiles := func(from, length uint16, size uint8) bool {
		lo, hi, most := int(from), int(from)+int(length), 1+int(size)
		end := lo
		for a, b := range pieces(lo, hi, most) {
			if a != end || b <= a || b-a > most || b-a < most && b != hi {
				return false
			}
			end = b
		}
		return end == hi
	}
	if err := quick.Check(tiles, nil); err != nil {
		t.Error(err)
	}
}
