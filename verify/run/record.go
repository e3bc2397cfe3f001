package run

import (
	"encoding/json"
	"fmt"

	"github.com/allmend-network/allmend/verify/canonical"
)

// Record is one entry of the run's log: a statement that was applied, or a
// transition that followed from it. Exactly one of the two is set.
type Record struct {
	Index      uint64 // from 0
	Statement  *Signed
	Transition Transition
}

// MaxRecordSize bounds the canonical encoding of a record in bytes: a roster of
// MaxMembers with spans of MaxBatch single samples fits.
const MaxRecordSize = 8 << 20

type recordJSON struct {
	Index      uint64          `json:"index"`
	Run        ID              `json:"run"`
	Statement  *Signed         `json:"statement,omitempty"`
	Transition *transitionJSON `json:"transition,omitempty"`
}

type transitionJSON struct {
	Name string          `json:"name"`
	Body json.RawMessage `json:"body"`
}

// Marshal returns the canonical encoding of r in the log of a run: the leaf
// data of the log's tree.
func (r Record) Marshal(id ID) ([]byte, error) {
	j := recordJSON{Index: r.Index, Run: id, Statement: r.Statement}
	if r.Transition != nil {
		body, err := json.Marshal(r.Transition)
		if err != nil {
			return nil, err
		}
		j.Transition = &transitionJSON{r.Transition.Name(), body}
	}
	b, err := canonical.Marshal(j)
	if err == nil && len(b) > MaxRecordSize {
		err = fmt.Errorf("record of %d bytes, at most %d are allowed", len(b), MaxRecordSize)
	}
	return b, err
}

// ParseRecord reads a record of a run from its canonical encoding. It checks no
// signature.
func ParseRecord(id ID, b []byte) (Record, error) {
	var j recordJSON
	if err := canonical.Unmarshal(b, &j, MaxRecordSize); err != nil {
		return Record{}, fmt.Errorf("log record: %w", err)
	}
	if j.Run != id {
		return Record{}, fmt.Errorf("log record %d belongs to run %s, not to %s", j.Index, j.Run.Short(), id.Short())
	}
	if (j.Statement == nil) == (j.Transition == nil) {
		return Record{}, fmt.Errorf("log record %d: want a statement or a transition", j.Index)
	}
	r := Record{Index: j.Index, Statement: j.Statement}
	if j.Transition == nil {
		if len(r.Statement.Signatures) == 0 {
			return Record{}, fmt.Errorf("log record %d: statement without a signature", j.Index)
		}
		return r, nil
	}
	parse, ok := transitions[j.Transition.Name]
	if !ok {
		return Record{}, fmt.Errorf("log record %d: unknown transition %.40q", j.Index, j.Transition.Name)
	}
	var err error
	if r.Transition, err = parse(j.Transition.Body); err != nil {
		return Record{}, fmt.Errorf("log record %d: %s: %w", j.Index, j.Transition.Name, err)
	}
	// The body was decoded without regard to its own keys: encode it again.
	if back, err := r.Marshal(id); err != nil || string(back) != string(b) {
		return Record{}, fmt.Errorf("log record %d: %s has a missing or unknown key", j.Index, j.Transition.Name)
	}
	return r, nil
}
