package goldfish

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"
)

// The known draws of torch.manual_seed(0) and (42) on a CPU, to four digits.
func TestMersenneMatchesTorch(t *testing.T) {
	for seed, want := range map[uint32][3]float64{
		0:  {0.4963, 0.7682, 0.0885},
		42: {0.8823, 0.9150, 0.3829},
	} {
		g := newMersenne(seed)
		for i, w := range want {
			got := float64(g.next()&(1<<24-1)) / (1 << 24)
			if math.Abs(got-w) > 0.00005 {
				t.Errorf("seed %d draw %d is %.4f, want %.4f", seed, i, got, w)
			}
		}
	}
}

func TestTable(t *testing.T) {
	h := sha256.New()
	counts := map[int]int{}
	var first []int
	for i, u := range table() {
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(float32(u)/(1<<24)))
		h.Write(b[:])
		for _, k := range []int{3, 4, 50, 128} {
			if dropped(u, k) {
				counts[k]++
			}
		}
		if dropped(u, 50) && len(first) < 10 {
			first = append(first, i)
		}
	}
	const want = "33025be4fa64d02d0a2e630dfa7fc166bf76a5364206fe4cd8973ce46e836562"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("table's sha256 is %s, want %s", got, want)
	}
	for k, n := range map[int]int{3: 332314, 4: 249533, 50: 19901, 128: 7746} {
		if counts[k] != n {
			t.Errorf("%d entries are below 1/%d, want %d", counts[k], k, n)
		}
	}
	if want := []int{5, 11, 16, 36, 57, 92, 102, 140, 171, 191}; !slices.Equal(first, want) {
		t.Errorf("first dropping entries are %v, want %v", first, want)
	}
}

func TestMaskVectors(t *testing.T) {
	for _, v := range []struct {
		name    string
		label   func(i int) int
		dropped int
		first   []int
	}{
		{"A", func(i int) int { return (7919*i + 13) % 131072 }, 81,
			[]int{226, 234, 286, 346, 350, 431, 483, 502, 532, 550, 602, 677}},
		{"B", func(i int) int { return (31*i*i+1009*i+3)%131072 | 1 }, 82,
			[]int{200, 314, 316, 354, 404, 448, 451, 484, 499, 525, 548, 562}},
	} {
		labels := make([]int32, 4096)
		for i := range labels {
			labels[i] = int32(v.label(i + 1))
		}
		var got []int
		for i, m := range Mask(labels, 50, 50) {
			if m == 0 {
				got = append(got, i)
			}
		}
		if len(got) != v.dropped || !slices.Equal(got[:min(len(got), 12)], v.first) {
			t.Errorf("vector %s drops %d, first %v; want %d, first %v", v.name, len(got), got[:min(len(got), 12)], v.dropped, v.first)
		}
	}
}

func TestMaskDependsOnWindowOnly(t *testing.T) {
	const k, h = 4, 13
	passage := make([]int32, 100)
	for i := range passage {
		passage[i] = int32(1000 + i*37)
	}
	alone := Mask(passage, k, h)
	shifted := Mask(append([]int32{7, 8, 9, 10, 11}, passage...), k, h)
	if !slices.Equal(alone[h-1:], shifted[5+h-1:]) {
		t.Error("the same window of labels got two decisions")
	}
	if slices.Contains(alone[:h-1], 0) {
		t.Error("a label without a whole window was left out")
	}
	if !slices.Contains(alone, 0) {
		t.Error("nothing was left out")
	}
}

func TestMaskOff(t *testing.T) {
	if mask := Mask([]int32{5, 6, 7}, 0, 0); !slices.Equal(mask, []byte{1, 1, 1}) {
		t.Errorf("k = 0 gives %v", mask)
	}
	if mask := Mask(nil, 50, 50); len(mask) != 0 {
		t.Errorf("no labels give %v", mask)
	}
}

// A window of even labels whose product wraps to 0 always counts.
func TestMaskCollapse(t *testing.T) {
	labels := make([]int32, 80)
	for i := range labels {
		labels[i] = 1024
	}
	if slices.Contains(Mask(labels, 50, 50), 0) {
		t.Error("a product of 0 was left out")
	}
}
