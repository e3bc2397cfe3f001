package demo

import (
	"fmt"
	"strings"
	"time"
)

// report is how a demo ended.
type report struct {
	OK     bool    `json:"ok"`
	Checks []check `json:"checks"`

	Run        string     `json:"run"`
	Rounds     uint64     `json:"rounds"`
	Members    int        `json:"members"`
	Tokens     uint64     `json:"tokens"` // trained on
	Losses     losses     `json:"losses"`
	Planted    []tally    `json:"planted,omitempty"`
	NotApplied []string   `json:"not_applied"`
	Faults     []fault    `json:"faults"`
	Verified   []string   `json:"verified"`
	Forgeries  int        `json:"forgeries"` // refused
	Text       string     `json:"text"`      // generated
	Prompt     string     `json:"prompt"`
	Folder     string     `json:"folder"`
	Kept       bool       `json:"kept"`
	Checkpoint string     `json:"checkpoint"` // folder of the last one, in Folder
	Artifacts  []artifact `json:"artifacts"`
	Seconds    seconds    `json:"seconds"`
	PeakBytes  int64      `json:"peak_bytes"` // over all processes
	Next       []string   `json:"next"`
}

// check is one thing that must hold.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// losses are mean losses in nats a token; held-back ones are 0 on a user's own
// texts, of which nothing is held back.
type losses struct {
	Vocabulary  float64 `json:"ln_vocabulary"` // of a model that knows nothing
	First       float64 `json:"first"`         // of the first round
	Last        float64 `json:"last"`          // of the last round
	HeldTokens  int     `json:"held_tokens"`
	HeldFirst   float64 `json:"held_first"`
	HeldLast    float64 `json:"held_last"`
	HeldUnigram float64 `json:"held_unigram"` // entropy of those tokens' own frequencies
}

// fault is one thing that was done to the swarm.
type fault struct {
	What     string  `json:"what"`
	Victim   string  `json:"victim"`
	Round    uint64  `json:"round"`
	Attempt  uint64  `json:"attempt,omitempty"`
	Phase    string  `json:"phase,omitempty"` // where the others stood, waiting
	Step     uint64  `json:"step"`
	Recovery seconds `json:"recovery_seconds"` // until the round was closed
	Back     seconds `json:"back_seconds"`     // until it took part again
}

// seconds prints with one decimal.
type seconds float64

func since(t time.Time) seconds { return seconds(time.Since(t).Seconds()) }

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%.1f", float64(s)), nil }

// artifact is something the demo made, and where it is.
type artifact struct {
	What string `json:"what"`
	Path string `json:"path"`
}

func (f fault) text() string {
	text := fmt.Sprintf("%s %s in round %d", f.Victim, f.What, f.Round)
	if f.Phase != "" {
		text += fmt.Sprintf(", ring %d, the others standing at %s, step %d", f.Attempt, f.Phase, f.Step)
	}
	if f.Recovery > 0 {
		text += fmt.Sprintf("; the round was closed %.1f s later", f.Recovery)
	}
	if f.Back > 0 {
		text += fmt.Sprintf("; took part %.1f s after its start", f.Back)
	}
	return text
}

// text renders the report for people.
func (r *report) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	line("run", "%s", r.Run)
	line("rounds", "%d closed, by %d members; trained on %s tokens", r.Rounds, r.Members, thousands(int64(r.Tokens)))
	line("loss", "%.3f in the first round, %.3f in the last; ln V = %.3f", r.Losses.First, r.Losses.Last, r.Losses.Vocabulary)
	if r.Losses.HeldTokens > 0 {
		line("held back", "%.3f before, %.3f after, on %s tokens of pages never trained on; their unigram entropy is %.3f",
			r.Losses.HeldFirst, r.Losses.HeldLast, thousands(int64(r.Losses.HeldTokens)), r.Losses.HeldUnigram)
	}
	if len(r.Planted) > 0 {
		planted, caught := 0, 0
		for _, t := range r.Planted {
			planted, caught = planted+t.Planted, caught+t.Caught
		}
		line("planted", "%d of %d things planted in the web became what they had to", caught, planted)
	}
	line("not applied", "%s: nobody has filtered these shards for that", strings.Join(r.NotApplied, ", "))
	for i, f := range r.Faults {
		line([]string{"faults", ""}[min(i, 1)], "%s", f.text())
	}
	for i, v := range r.Verified {
		line([]string{"verified", ""}[min(i, 1)], "%s", v)
	}
	if r.Forgeries > 0 {
		line("forgeries", "%d made, every one refused by name", r.Forgeries)
	}
	line("cost", "%.0f s, %d MiB of memory at most over all processes", float64(r.Seconds), r.PeakBytes>>20)
	if r.Text != "" {
		line("it writes", "%s[%s]", r.Prompt, strings.Join(strings.Fields(r.Text), " "))
	}
	b.WriteString("\n")
	for _, c := range r.Checks {
		mark := "ok  "
		if !c.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(&b, "  %s %s: %s\n", mark, c.Name, c.Detail)
	}
	b.WriteString("\n")
	if !r.Kept {
		line("left here", "nothing: %s is removed now", r.Folder)
	}
	for i, a := range r.Artifacts {
		line([]string{"left here", ""}[min(i, 1)], "%-18s%s", a.What, a.Path)
	}
	b.WriteString("\n  Next:\n")
	for _, n := range r.Next {
		fmt.Fprintf(&b, "    %s\n", n)
	}
	return b.String()
}

// thousands writes a number with commas.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
