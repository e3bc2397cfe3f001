package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
)

// TestWatchdog plays reports second by second. In a script a letter is one
// second of one member: "." reports and gets on, "-" reports and stands still,
// " " says nothing.
func TestWatchdog(t *testing.T) {
	a, b, c := identity.Address{1}, identity.Address{2}, identity.Address{3}
	for _, test := range []struct {
		name    string
		scripts [3]string
		steps   [3]uint64
		waiting [3]identity.Address
		at      int // second of the first suspicion; 0 for none
		want    []identity.Address
	}{
		{"all get on", [3]string{"............", "............", "............"}, [3]uint64{}, [3]identity.Address{}, 0, nil},
		{"one is dead", [3]string{"............", "...         ", "............"}, [3]uint64{}, [3]identity.Address{}, 8, []identity.Address{b}},
		{"two are dead", [3]string{"............", "...         ", "...         "}, [3]uint64{}, [3]identity.Address{}, 8, []identity.Address{b, c}},
		{"one was never heard", [3]string{"............", "            ", "............"}, [3]uint64{}, [3]identity.Address{}, 6, []identity.Address{b}},
		{"others wait for the slow one", [3]string{"...---------", "............", "...---------"}, [3]uint64{5, 0, 5}, [3]identity.Address{b, {}, b}, 0, nil},
		{"it hangs, the others wait", [3]string{"...---------", "...---------", "...---------"}, [3]uint64{5, 0, 5}, [3]identity.Address{b, {}, b}, 8, []identity.Address{b}},
		{"it is dead, the others wait", [3]string{"...---------", "...         ", "...---------"}, [3]uint64{5, 9, 5}, [3]identity.Address{b, {}, b}, 8, []identity.Address{b}},
		{"all wait", [3]string{"...---------", "...---------", "...---------"}, [3]uint64{5, 4, 6}, [3]identity.Address{b, c, a}, 8, []identity.Address{b}},
		{"slow but steady", [3]string{".---.---.---.---.---.---", ".---.---.---.---.---.---", ".---.---.---.---.---.---"}, [3]uint64{}, [3]identity.Address{}, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dog := newWatchdog()
			now := time.Unix(1000, 0)
			p := phase{"compute", 3, 0}
			var counters [3]uint64
			for second := 1; second <= len(test.scripts[0]); second++ {
				for i, member := range []identity.Address{a, b, c} {
					switch test.scripts[i][second-1] {
					case '.':
						counters[i]++
						fallthrough
					case '-':
						dog.report(now, member, Progress{Phase: "x", Units: counters[i], Step: test.steps[i], Waiting: test.waiting[i]})
					}
				}
				var got []identity.Address
				for _, s := range dog.check(now, p, []identity.Address{a, b, c}) {
					got = append(got, s.member)
				}
				if len(got) > 0 {
					if second != test.at || !slices.Equal(got, test.want) {
						t.Errorf("second %d: suspects %v, want %v in second %d", second, got, test.want, test.at)
					}
					return
				}
				now = now.Add(time.Second)
			}
			if test.at > 0 {
				t.Error("nobody was suspected")
			}
		})
	}
}

// TestWatchdogStartsAfresh demands that a new phase gives everybody time.
func TestWatchdogStartsAfresh(t *testing.T) {
	a := identity.Address{1}
	dog := newWatchdog()
	now := time.Unix(1000, 0)
	dog.report(now, a, Progress{Phase: "x"})
	dog.check(now, phase{"compute", 1, 0}, []identity.Address{a})
	now = now.Add(minPatience - time.Second)
	if got := dog.check(now, phase{"reduce", 1, 1}, []identity.Address{a}); got != nil {
		t.Errorf("suspects %v", got)
	}
	now = now.Add(minPatience - time.Second)
	if got := dog.check(now, phase{"reduce", 1, 1}, []identity.Address{a}); got != nil {
		t.Errorf("suspects %v before its time", got)
	}
	now = now.Add(2 * time.Second)
	if got := dog.check(now, phase{"reduce", 1, 1}, []identity.Address{a}); len(got) != 1 {
		t.Errorf("suspects %v", got)
	}
}

// TestPatience demands that a member that changes its counters rarely is given
// four times its median.
func TestPatience(t *testing.T) {
	a := identity.Address{1}
	dog := newWatchdog()
	now := time.Unix(1000, 0)
	for i := range uint64(5) {
		dog.report(now, a, Progress{Units: i})
		now = now.Add(10 * time.Second)
	}
	if got := dog.pulses[a].patience(); got != 40*time.Second {
		t.Errorf("patience %s", got)
	}
}

// play reports each second for members that all stand still, expires whom the
// watchdog names, and returns when each was.
func play(t *testing.T, seconds int, p phase, members []identity.Address, say func(second int, i int) Progress) map[identity.Address]int {
	t.Helper()
	dog := newWatchdog()
	named := map[identity.Address]int{}
	owing := slices.Clone(members)
	for second := range seconds {
		now := time.Unix(1000+int64(second), 0)
		for i, m := range members {
			dog.report(now, m, say(second, i))
		}
		for _, s := range dog.check(now, p, owing) {
			named[s.member] = second
			owing = slices.DeleteFunc(slices.Clone(owing), func(a identity.Address) bool { return a == s.member })
		}
	}
	return named
}

// TestWatchdogNamesOneAtATime demands that, when all report and stand still,
// naming one gives the others time: they may have waited for that one.
func TestWatchdogNamesOneAtATime(t *testing.T) {
	members := []identity.Address{{1}, {2}, {3}}
	named := play(t, 20, phase{"end", 7, 0}, members, func(int, int) Progress { return Progress{Round: 7, Phase: "checkpoint"} })
	for i, want := range []int{5, 10, 15} {
		if got := named[members[i]]; got != want {
			t.Errorf("member %d was named in second %d, want %d", i, got, want)
		}
	}
}

// TestWatchdogCountsMaxima demands that a counter that goes up and down, or a
// phase that comes and goes, is not getting on.
func TestWatchdogCountsMaxima(t *testing.T) {
	members := []identity.Address{{1}}
	for name, say := range map[string]func(second, i int) Progress{
		"a counter": func(second, _ int) Progress { return Progress{Round: 7, Phase: "compute", Units: uint64(second % 2)} },
		"a phase":   func(second, _ int) Progress { return Progress{Round: 7, Phase: [2]string{"sync", "apply"}[second%2]} },
	} {
		if named := play(t, 60, phase{"compute", 7, 0}, members, say); len(named) == 0 {
			t.Errorf("%s that goes up and down: never named", name)
		}
	}
}

// TestWatchdogBoundsTheSlow demands that whoever always gets on a little holds
// the others up for ten times as long as they took, and no longer.
func TestWatchdogBoundsTheSlow(t *testing.T) {
	dog := newWatchdog()
	quick, slow := identity.Address{1}, identity.Address{2}
	p := phase{"compute", 7, 0}
	for second := range 7200 {
		now := time.Unix(1000+int64(second), 0)
		owing := []identity.Address{quick, slow}
		for _, m := range owing {
			dog.report(now, m, Progress{Round: 7, Phase: "compute", Bytes: uint64(second)})
		}
		if second >= 120 {
			owing = owing[1:]
		}
		if got := dog.check(now, p, owing); len(got) > 0 {
			if second != 1200 || got[0].member != slow {
				t.Errorf("second %d: %v", second, got)
			}
			return
		}
	}
	t.Error("never named")
}
