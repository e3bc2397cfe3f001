package state

import (
	"fmt"

	"github.com/allmend-network/allmend/verify/digest"
	"golang.org/x/mod/sumdb/tlog"
)

// treeLog is the RFC 6962 tree over the log's records: only its right edge,
// which is all that appending and computing roots needs. Records themselves,
// and with them every proof, are kept by those who store the log.
//
// Invariant: len(Edge) is the number of one bits in Size.
type treeLog struct {
	Size uint64       `json:"size"`
	Edge []digest.Sum `json:"edge"` // roots of the complete subtrees, left to right
}

// append adds a record's canonical bytes.
func (l *treeLog) append(record []byte) {
	hashes, err := tlog.StoredHashes(int64(l.Size), record, l)
	if err != nil {
		panic("state: log edge is broken: " + err.Error())
	}
	// Each hash after the leaf completes the subtree that ended the edge.
	keep := len(l.Edge) - (len(hashes) - 1)
	edge := make([]digest.Sum, 0, keep+1)
	edge = append(edge, l.Edge[:keep]...)
	l.Edge = append(edge, digest.Sum(hashes[len(hashes)-1]))
	l.Size++
}

// root returns the tree's root.
func (l *treeLog) root() digest.Sum {
	h, err := tlog.TreeHash(int64(l.Size), l)
	if err != nil {
		panic("state: log edge is broken: " + err.Error())
	}
	if l.Size == 0 {
		return digest.Root(nil)
	}
	return digest.Sum(h)
}

// ReadHashes implements [tlog.HashReader] over the edge.
func (l *treeLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	at := map[int64]tlog.Hash{}
	left, next := uint64(0), 0
	for level := 62; level >= 0; level-- {
		if size := uint64(1) << level; l.Size&size != 0 {
			at[tlog.StoredHashIndex(level, int64(left>>level))] = tlog.Hash(l.Edge[next])
			left, next = left+size, next+1
		}
	}
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		h, ok := at[index]
		if !ok {
			return nil, fmt.Errorf("hash %d is not on the edge of a log of %d records", index, l.Size)
		}
		out[i] = h
	}
	return out, nil
}
