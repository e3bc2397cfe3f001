package demo

import (
	"fmt"
	"strings"

	"github.com/allmend-network/allmend/verify/identity"
)

// picture is the run at one moment, as its coordinators show it.
type picture struct {
	Status     string             `json:"status"` // "waiting", "running", "paused", "halted" or "finished"
	Reason     string             `json:"reason"` // of paused and halted
	Phase      string             `json:"phase"`  // "gather", "compute", "reduce", "again" or "end"
	Round      uint64             `json:"round"`
	Attempt    uint64             `json:"attempt"`
	Current    uint64             `json:"current"` // round whose roster and ring these are
	Step       uint64             `json:"step"`    // rounds closed
	LogSize    uint64             `json:"log_size"`
	Leader     identity.Address   `json:"leader"`
	Roster     []identity.Address `json:"roster"`
	Awaited    []identity.Address `json:"awaited"` // whom the phase waits for
	Ring       []identity.Address `json:"ring"`    // contributors in ring order; before the ring, the roster
	Members    []member           `json:"members"`
	Checkpoint uint64             `json:"checkpoint"` // round of the last signed one
	Loss       float64            `json:"loss"`       // of the round closed last; 0 before
	Targets    uint64             `json:"targets"`    // supervised tokens of the round closed last
}

// member is what one member reports of itself.
type member struct {
	Address identity.Address `json:"address"`
	Expired bool             `json:"expired"`
	Round   uint64           `json:"round"`
	Phase   string           `json:"phase"`
	Step    uint64           `json:"step"`
	Waiting identity.Address `json:"waiting"` // zero: for nobody
}

// names are what the demo calls its processes.
type names map[identity.Address]string

func (n names) of(a identity.Address) string {
	if name, ok := n[a]; ok {
		return name
	}
	if a.IsZero() {
		return "nobody"
	}
	return a.Short()
}

func (n names) all(list []identity.Address) []string {
	var out []string
	for _, a := range list {
		out = append(out, n.of(a))
	}
	return out
}

// ring writes a ring as it runs: each sends to the one behind it, the last to
// the first.
func (n names) ring(list []identity.Address) string {
	if len(list) == 0 {
		return "none yet"
	}
	return strings.Join(append(n.all(list), n.of(list[0])), " → ")
}

// stage is what the live screen and the plain lines show beside a picture.
type stage struct {
	names    names
	rounds   int       // in all
	losses   []float64 // of each closed round seen
	speed    float64   // tokens a second
	survived int       // faults
	doing    string    // what is being done to the swarm; "" if nothing
}

// screen draws the picture as lines for a terminal.
func (g *stage) screen(p picture) []string {
	phase := p.Phase
	if p.Attempt > 0 {
		phase = fmt.Sprintf("%s, ring %d", p.Phase, p.Attempt)
	}
	if p.Status != "running" && p.Status != "" {
		phase = strings.TrimSuffix(p.Status+": "+p.Reason, ": ")
	}
	loss := "none yet"
	if len(g.losses) > 0 {
		loss = fmt.Sprintf("%.3f  %s", g.losses[len(g.losses)-1], sparkline(g.losses, 40))
	}
	lines := []string{
		"",
		fmt.Sprintf("  round    %d of %d  %s  %s", p.Step, g.rounds, bar(int(p.Step), g.rounds, 24), phase),
		"  loss     " + loss,
		fmt.Sprintf("  speed    %s tokens/s", thousands(int64(g.speed))),
		"  ring     " + g.names.ring(p.Ring),
		"  leader   " + g.names.of(p.Leader),
		fmt.Sprintf("  faults   %d survived", g.survived),
	}
	for _, m := range p.Members {
		lines = append(lines, "  "+g.member(m))
	}
	if g.doing != "" {
		lines = append(lines, "  ! "+g.doing)
	}
	return lines
}

func (g *stage) member(m member) string {
	text := fmt.Sprintf("%-9s", g.names.of(m.Address))
	switch {
	case m.Expired:
		return text + "away"
	case m.Phase == "":
		return text + "no report yet"
	}
	text += fmt.Sprintf("%s %d", m.Phase, m.Step)
	if !m.Waiting.IsZero() {
		text += ", waits for " + g.names.of(m.Waiting)
	}
	return text
}

// line says in one line that a round was closed.
func (g *stage) line(p picture) string {
	return fmt.Sprintf("  round %2d of %d  loss %.3f  %6s tokens/s  %d members  ring %s  leader %s",
		p.Step, g.rounds, p.Loss, thousands(int64(g.speed)), len(p.Ring), g.names.ring(p.Ring), g.names.of(p.Leader))
}

func bar(n, of, width int) string {
	full := 0
	if of > 0 {
		full = min(n*width/of, width)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// sparkline draws the last values, from the lowest block for the least of all
// values to the highest for the greatest.
func sparkline(values []float64, width int) string {
	least, most := values[0], values[0]
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	var b strings.Builder
	for _, v := range values[max(0, len(values)-width):] {
		level := 0
		if most > least {
			level = int((v - least) / (most - least) * 7)
		}
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[level])
	}
	return b.String()
}
