package state

import (
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

const (
	maxHeads = 1024 // log sizes a HeadSet keeps heads of
	maxAhead = 256  // log sizes beyond the derived ones that it takes heads of
)

// HeadSet collects coordinators' signed heads and says how far k of them cover
// the log that this process derived. Heads may come before or after the
// records they are about. A signer that shows two roots for one size does not
// count any more ([HeadSet.Proofs]); two roots that k sign, or one that k sign
// and this process did not derive, end everything ([Fork]).
type HeadSet struct {
	id      run.ID
	who     []identity.Address // coordinators at the largest derived size
	derived uint64             // largest derived size
	covered uint64
	at      []headsAt // by size
	proofs  []Proof
	fork    *Fork
}

// headsAt is what is known about one log size.
type headsAt struct {
	size  uint64
	who   []identity.Address // whose signatures count; nil until derived
	root  digest.Sum         // as this process derived it
	heads []signedHead       // at most two of one signer
}

type signedHead struct {
	signer identity.Address
	root   digest.Sum
	signed run.Signed
}

// Proof is two heads by which one coordinator shows that it lies.
type Proof struct {
	Signer identity.Address
	Heads  [2]run.Signed
}

// Fork is the error after which nobody may go on: k coordinators stand behind a
// log that is not the one derived here, or behind two.
type Fork struct {
	Size  uint64
	Heads []run.Signed // of each side, by root, then signer
}

func (f *Fork) Error() string {
	return fmt.Sprintf("coordinators signed two different logs of %d records: stop here, keep the %d heads as evidence and ask the other members which coordinator signed twice", f.Size, len(f.Heads))
}

// NewHeadSet returns the empty set of a run whose first coordinators are those
// of its Spec.
func NewHeadSet(id run.ID, coordinators []identity.Address) *HeadSet {
	return &HeadSet{id: id, who: slices.Clone(coordinators)}
}

// Derived tells the set what this process found by applying the log's first
// size records: their root, and the coordinators then. Call it in ascending
// order, for each size that ends the records of one statement.
func (h *HeadSet) Derived(size uint64, root digest.Sum, coordinators []identity.Address) error {
	a := h.get(size)
	a.root, a.who = root, slices.Clone(coordinators)
	h.who, h.derived = a.who, max(h.derived, size)
	return h.judge(a)
}

// Add takes a signed head.
func (h *HeadSet) Add(s run.Signed) error {
	if h.fork != nil {
		return h.fork
	}
	head, ok := s.Statement.(run.Head)
	if !ok {
		return fmt.Errorf("a %s is no head", s.Statement.Kind())
	}
	signers, err := s.Signers(h.id)
	if err != nil {
		return err
	}
	if head.Index > h.derived+maxAhead {
		return fmt.Errorf("head of %d records, this process has %d: follow the log first", head.Index, h.derived)
	}
	if len(h.at) > 0 && len(h.at) >= maxHeads && head.Index < h.at[0].size {
		return nil // long covered
	}
	i, found := h.search(head.Index)
	if head.Index <= h.derived && !found {
		return fmt.Errorf("head of %d records: no statement's records end there", head.Index)
	}
	who := h.who
	if found && h.at[i].who != nil {
		who = h.at[i].who
	}
	for j, signer := range signers {
		if !has(who, signer) {
			return fmt.Errorf("head of %d records: %s is no coordinator there", head.Index, signer.Short())
		}
		h.add(h.get(head.Index), signedHead{signer, head.Root, run.Signed{Statement: head, Signatures: s.Signatures[j : j+1]}})
	}
	return h.judge(h.get(head.Index))
}

func (h *HeadSet) add(a *headsAt, head signedHead) {
	for _, x := range a.heads {
		if x.signer != head.signer {
			continue
		}
		if x.root != head.root && !h.lied(head.signer) {
			h.proofs = append(h.proofs, Proof{head.signer, [2]run.Signed{x.signed, head.signed}})
			break
		}
		return
	}
	a.heads = append(a.heads, head)
	slices.SortFunc(a.heads, func(x, y signedHead) int {
		if c := slices.Compare(x.root[:], y.root[:]); c != 0 {
			return c
		}
		return x.signer.Compare(y.signer)
	})
}

// judge draws the conclusions from one size's heads.
func (h *HeadSet) judge(a *headsAt) error {
	if h.fork != nil || a.who == nil {
		return h.forked()
	}
	k := run.Threshold(len(a.who))
	votes, honest := map[digest.Sum]int{}, 0
	for _, x := range a.heads {
		if has(a.who, x.signer) {
			votes[x.root]++
			if x.root == a.root && !h.lied(x.signer) {
				honest++
			}
		}
	}
	for root, n := range votes { // any one of them is enough: order does not matter
		if n >= k && root != a.root {
			h.fork = &Fork{Size: a.size}
			for _, x := range a.heads {
				h.fork.Heads = append(h.fork.Heads, x.signed)
			}
			return h.fork
		}
	}
	if honest >= k {
		h.covered = max(h.covered, a.size)
	}
	return nil
}

func (h *HeadSet) forked() error {
	if h.fork != nil {
		return h.fork
	}
	return nil
}

func (h *HeadSet) lied(a identity.Address) bool {
	return slices.ContainsFunc(h.proofs, func(p Proof) bool { return p.Signer == a })
}

// Covered returns the largest derived size that k coordinators signed: records
// before it may be acted on.
func (h *HeadSet) Covered() uint64 { return h.covered }

// Proofs returns the coordinators that were caught, in the order they were.
func (h *HeadSet) Proofs() []Proof { return h.proofs }

// Signed returns the head that covers the log up to size with every signature
// that counts, sorted; ok is false if k have not signed it. Signatures of those
// that were caught lying do not count.
func (h *HeadSet) Signed(size uint64) (head run.Signed, ok bool) {
	i, found := h.search(size)
	if !found || h.at[i].who == nil {
		return run.Signed{}, false
	}
	a := h.at[i]
	head.Statement = run.Head{Index: size, Root: a.root}
	for _, x := range a.heads {
		if x.root == a.root && has(a.who, x.signer) && !h.lied(x.signer) {
			head.Signatures = append(head.Signatures, x.signed.Signatures[0])
		}
	}
	return head, len(head.Signatures) >= run.Threshold(len(a.who))
}

func (h *HeadSet) search(size uint64) (int, bool) {
	return slices.BinarySearchFunc(h.at, size, func(a headsAt, n uint64) int {
		switch {
		case a.size < n:
			return -1
		case a.size > n:
			return 1
		}
		return 0
	})
}

// get returns the entry of a size, made if it is new; the oldest goes when
// there are too many.
func (h *HeadSet) get(size uint64) *headsAt {
	i, ok := h.search(size)
	if !ok {
		h.at = slices.Insert(h.at, i, headsAt{size: size})
		if len(h.at) > maxHeads && i > 0 {
			h.at, i = slices.Delete(h.at, 0, 1), i-1
		}
	}
	return &h.at[i]
}
