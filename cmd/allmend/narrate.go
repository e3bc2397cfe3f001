package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// eventResult is one transition of the run's log, as JSON.
type eventResult struct {
	Event      string          `json:"event"` // the transition's name, as in the log
	Index      uint64          `json:"index"` // of the record
	Transition json.RawMessage `json:"transition"`
	Loss       *float64        `json:"loss,omitempty"` // of CLOSED: mean over its tokens, in nats
}

// narrate prints a transition of the log. Statements are not printed: what
// they lead to is.
func (c *console) narrate(e state.Entry) error {
	if e.Transition == nil {
		return nil
	}
	body, err := json.Marshal(e.Transition)
	if err != nil {
		return err
	}
	r := eventResult{Event: e.Transition.Name(), Index: e.Index, Transition: body}
	if closed, ok := e.Transition.(run.Closed); ok {
		if loss, ok := meanLoss(closed); ok {
			r.Loss = &loss
		}
	}
	return c.result(r, inWordsOf(e.Transition))
}

// meanLoss returns a closed round's loss in nats a token, 0 if it has none.
func meanLoss(c run.Closed) (loss float64, ok bool) {
	loss = float64(math.Float32frombits(c.Loss)) / float64(c.Targets)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, false
	}
	return loss, true
}

func describeClosed(c run.Closed) lastResult {
	loss, _ := meanLoss(c)
	return lastResult{c.Round, c.Step, loss, c.Targets}
}

// inWordsOf says a transition to people.
func inWordsOf(t run.Transition) string {
	switch t := t.(type) {
	case run.Started:
		return "every coordinator has accepted: rounds may open"
	case run.Open:
		return fmt.Sprintf("round %d opens with %s", t.Round, shorts(t.Roster))
	case run.Ring:
		return fmt.Sprintf("round %d ring %d: %s", t.Round, t.Attempt, shorts(t.Contributors))
	case run.Closed:
		loss, _ := meanLoss(t)
		return fmt.Sprintf("round %d closed as step %d: loss %.4f over %d tokens", t.Round, t.Step, loss, t.Targets)
	case run.Aborted:
		return fmt.Sprintf("round %d ring %d aborted: %s", t.Round, t.Attempt, t.Reason)
	case run.Skipped:
		return fmt.Sprintf("round %d skipped: %s; its samples go back to the pool", t.Round, t.Reason)
	case run.Halted:
		return "halted: " + t.Reason + "; look into it, then `allmend run resume`"
	case run.Paused:
		return "paused: " + t.Reason
	case run.Resumed:
		return "resumed"
	case run.Finishing:
		return fmt.Sprintf("the run ends after round %d", t.Round)
	case run.Finished:
		return fmt.Sprintf("finished after round %d, step %d", t.Round, t.Step)
	case run.Rewound:
		return fmt.Sprintf("rewound to the checkpoint of round %d; %d closed rounds are void", t.Round, len(t.Void))
	case run.Expired:
		return fmt.Sprintf("%s is out: %s", t.Member.Short(), t.Reason)
	case run.Changed:
		return fmt.Sprintf("%s %s %s %s", t.Action, t.Role, t.Subject, successor(t.Successor))
	case run.Checkpointed:
		return fmt.Sprintf("checkpoint of round %d: members agree on state %s", t.Round, t.State.Short())
	case run.CheckpointSigned:
		return fmt.Sprintf("checkpoint of round %d is signed: manifest %s", t.Round, t.Manifest)
	case run.Equivocation:
		return fmt.Sprintf("%s said two different things (%s); the log holds the proof", t.Signer, t.Kind)
	}
	return t.Name()
}

func successor(a identity.Address) string {
	if a.IsZero() {
		return ""
	}
	return "to " + a.String()
}

func shorts(addresses []identity.Address) string {
	var all []string
	for _, a := range addresses {
		all = append(all, a.Short())
	}
	return strings.Join(all, ", ")
}
