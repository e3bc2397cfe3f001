package forge

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"

	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// history is a log in memory.
type history struct {
	l       Layout
	lines   [][]byte
	records []run.Record
}

func readLog(l Layout) (*history, error) {
	b, err := os.ReadFile(filepath.Join(l.Evidence, verify.LogFile))
	if err != nil {
		return nil, err
	}
	h := &history{l: l}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		r, err := run.ParseRecord(l.Run, line)
		if err != nil {
			return nil, err
		}
		h.lines, h.records = append(h.lines, line), append(h.records, r)
	}
	return h, nil
}

// find returns the index of the last record that is one.
func (h *history) find(one func(run.Record) bool) (int, error) {
	for i := len(h.records) - 1; i >= 0; i-- {
		if one(h.records[i]) {
			return i, nil
		}
	}
	return 0, errors.New("the log has no record of the kind to forge")
}

// replace puts another record in place of the i-th.
func (h *history) replace(i int, r run.Record) (err error) {
	h.records[i] = r
	h.lines[i], err = r.Marshal(h.l.Run)
	return err
}

// write writes the log, and over it a head with the right root that the
// stranger signs.
func (h *history) write() error {
	var leaves []digest.Sum
	for _, line := range h.lines {
		leaves = append(leaves, digest.Leaf(line))
	}
	if err := h.writeOnly(); err != nil {
		return err
	}
	head, err := run.Sign(h.l.Run, h.l.Stranger, run.Head{Index: uint64(len(leaves)), Root: digest.Root(leaves)})
	if err != nil {
		return err
	}
	return writeHead(h.l, head)
}

// writeOnly writes the log under the head that is there.
func (h *history) writeOnly() error {
	return put(filepath.Join(h.l.Evidence, verify.LogFile), append(bytes.Join(h.lines, []byte{'\n'}), '\n'))
}

func readHead(l Layout) (run.Signed, error) {
	b, err := os.ReadFile(filepath.Join(l.Evidence, verify.HeadFile))
	if err != nil {
		return run.Signed{}, err
	}
	return run.ParseSigned(b)
}

func writeHead(l Layout, head run.Signed) error {
	b, err := head.Marshal()
	if err != nil {
		return err
	}
	return put(filepath.Join(l.Evidence, verify.HeadFile), b)
}

// rewriting returns the case of a log that change rewrites; everything behind
// it is hashed again and the stranger signs the head.
func rewriting(name string, change func(*history) (want string, err error)) Case {
	return Case{name, "run", func(l Layout) (string, error) {
		h, err := readLog(l)
		if err != nil {
			return "", err
		}
		want, err := change(h)
		if err != nil {
			return "", err
		}
		return want, h.write()
	}}
}

// beheading returns the case of a changed head.
func beheading(name, want string, change func(Layout, *run.Signed) error) Case {
	return Case{name, "run", func(l Layout) (string, error) {
		head, err := readHead(l)
		if err != nil {
			return "", err
		}
		if err := change(l, &head); err != nil {
			return "", err
		}
		return want, writeHead(l, head)
	}}
}

func isCommit(r run.Record) bool {
	if r.Statement == nil {
		return false
	}
	_, ok := r.Statement.Statement.(run.Commit)
	return ok
}

func isTransition[T run.Transition](r run.Record) bool {
	_, ok := r.Transition.(T)
	return ok
}

// logCases forge the log and the head over it.
func logCases() []Case {
	return []Case{
		rewriting("a Commit signed again by a stranger", func(h *history) (string, error) {
			i, err := h.find(isCommit)
			if err != nil {
				return "", err
			}
			signed, err := run.Sign(h.l.Run, h.l.Stranger, h.records[i].Statement.Statement)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("log record %d: Commit by %s refused", i, h.l.Stranger.Address().Short()), h.replace(i, run.Record{Index: uint64(i), Statement: &signed})
		}),
		rewriting("a record of another run", func(h *history) (string, error) {
			i, err := h.find(isCommit)
			if err != nil {
				return "", err
			}
			h.lines[i], err = h.records[i].Marshal(anotherRun)
			return fmt.Sprintf("log record %d belongs to run %s", i, anotherRun.Short()), err
		}),
		rewriting("a record in the middle removed", func(h *history) (string, error) {
			i, err := h.find(isCommit)
			if err != nil {
				return "", err
			}
			h.lines = slices.Delete(h.lines, i, i+1)
			return fmt.Sprintf("record %d is due", i), nil
		}),
		rewriting("a record in the middle removed, the rest numbered again", func(h *history) (string, error) {
			i, err := h.find(isCommit)
			if err != nil {
				return "", err
			}
			for j := i + 1; j < len(h.lines); j++ {
				r := h.records[j]
				r.Index--
				if h.lines[j], err = r.Marshal(h.l.Run); err != nil {
					return "", err
				}
			}
			h.lines = slices.Delete(h.lines, i, i+1)
			return "log record", nil
		}),
		rewriting("the samples of an OPEN dealt out otherwise", func(h *history) (string, error) {
			return editTransition(h, func(t *run.Open) { t.Spans[0].Ranges[0].End++ })
		}),
		rewriting("the learning rate of an OPEN one bit higher", func(h *history) (string, error) {
			return editTransition(h, func(t *run.Open) { t.Scalars.LearningRate *= 1 + 1.0/(1<<23) })
		}),
		rewriting("one token more in a CLOSED", func(h *history) (string, error) {
			return editTransition(h, func(t *run.Closed) { t.Targets++ })
		}),
		rewriting("another sum in a CLOSED", func(h *history) (string, error) {
			return editTransition(h, func(t *run.Closed) { t.Reduced = anotherRun })
		}),
		rewriting("an end that nobody signed", func(h *history) (string, error) {
			n := len(h.lines)
			b, err := run.Record{Index: uint64(n), Transition: run.Halted{Reason: "by a stranger"}}.Marshal(h.l.Run)
			h.lines = append(h.lines, b)
			return fmt.Sprintf("log record %d: no HALTED follows", n), err
		}),
		rewriting("a dropped tail under a head that a stranger signed", func(h *history) (string, error) {
			_, err := dropTail(h)
			return fmt.Sprintf("%s signed, but is not a coordinator", h.l.Stranger.Address()), err
		}),
		{"a dropped tail", "run", func(l Layout) (string, error) {
			h, err := readLog(l)
			if err != nil {
				return "", err
			}
			before := len(h.lines)
			after, err := dropTail(h)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("it has %d records; the coordinators signed a log of %d", after, before), h.writeOnly()
		}},
		{"a log cut in the middle of a record", "run", func(l Layout) (string, error) {
			return verify.LogFile, edit(filepath.Join(l.Evidence, verify.LogFile), func(b []byte) ([]byte, error) { return b[:len(b)-10], nil })
		}},
	}
}

// editTransition changes the last transition of a kind. A record that is
// changed is not the one that follows.
func editTransition[T run.Transition](h *history, change func(*T)) (string, error) {
	i, err := h.find(isTransition[T])
	if err != nil {
		return "", err
	}
	t := h.records[i].Transition.(T)
	change(&t)
	return fmt.Sprintf("log record %d: it is not the %s that follows", i, t.Name()), h.replace(i, run.Record{Index: uint64(i), Transition: t})
}

// dropTail removes the last statement and what follows from it; it returns how
// many records are left.
func dropTail(h *history) (int, error) {
	i, err := h.find(func(r run.Record) bool { return r.Statement != nil })
	if err != nil {
		return 0, err
	}
	h.lines, h.records = h.lines[:i], h.records[:i]
	return i, nil
}

// headCases forge the head alone.
func headCases() []Case {
	return []Case{
		beheading("a head signed by a stranger", "is not a coordinator", func(l Layout, head *run.Signed) (err error) {
			*head, err = run.Sign(l.Run, l.Stranger, head.Statement)
			return err
		}),
		beheading("a head with a stranger's signature beside the others", "is not a coordinator", func(l Layout, head *run.Signed) error {
			extra, err := l.Stranger.Sign(l.Run, head.Statement)
			if err != nil {
				return err
			}
			return insert(l.Run, head, extra)
		}),
		beheading("a head whose signer counts twice", "signers must be sorted and distinct", func(_ Layout, head *run.Signed) error {
			head.Signatures = append(head.Signatures, head.Signatures[len(head.Signatures)-1])
			return nil
		}),
		beheading("a head with the high-s twin of a signature", "a malleated twin", func(_ Layout, head *run.Signed) error {
			head.Signatures[0] = twin(head.Signatures[0])
			return nil
		}),
		beheading("a head with k − 1 signatures", verify.HeadFile, func(l Layout, head *run.Signed) error {
			k, err := threshold(l)
			if err == nil {
				head.Signatures = head.Signatures[:k-1]
			}
			return err
		}),
		beheading("a head with the signatures of another run", "is not a coordinator", func(l Layout, head *run.Signed) (err error) {
			*head, err = run.Sign(anotherRun, l.Stranger, head.Statement)
			return err
		}),
		{"a key twice in the head", "run", func(l Layout) (string, error) {
			return verify.HeadFile, edit(filepath.Join(l.Evidence, verify.HeadFile), func(b []byte) ([]byte, error) {
				return bytes.Replace(b, []byte(`{"kind":"Head",`), []byte(`{"kind":"Head","kind":"Head",`), 1), nil
			})
		}},
	}
}

// threshold returns k as the Spec has it.
func threshold(l Layout) (int, error) {
	b, err := os.ReadFile(filepath.Join(l.Evidence, verify.SpecFile))
	if err != nil {
		return 0, err
	}
	spec, err := run.ParseSpec(b)
	return spec.Threshold, err
}

// insert puts a signature where its signer's address belongs.
func insert(id run.ID, s *run.Signed, g identity.Signature) error {
	by, err := identity.Recover(id, s.Statement, g)
	if err != nil {
		return err
	}
	signers, err := s.Signers(id)
	if err != nil {
		return err
	}
	i, _ := slices.BinarySearchFunc(signers, by, identity.Address.Compare)
	s.Signatures = slices.Insert(s.Signatures, i, g)
	return nil
}

// twin returns the other signature that recovers to the same key: n − s and the
// other v, n being the order of secp256k1.
func twin(g identity.Signature) identity.Signature {
	n, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	s := new(big.Int).SetBytes(g[32:64])
	s.Sub(n, s).FillBytes(g[32:64])
	g[64] ^= 27 ^ 28
	return g
}
