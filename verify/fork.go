package verify

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// ReadHead reads a Head from a file such as another evidence folder's
// head.json. It checks no signature.
func ReadHead(path string) (run.Signed, error) {
	dir, name := filepath.Split(path)
	b, err := (&Evidence{Dir: dir}).read(name, maxHeadFile)
	if err != nil {
		return run.Signed{}, err
	}
	s, err := run.ParseSigned(b)
	if err != nil {
		return s, &Failure{path, err}
	}
	if _, ok := s.Statement.(run.Head); !ok {
		return s, refuse(path, "it holds a %s, not a Head", s.Statement.Kind())
	}
	return s, nil
}

// Against holds a Head that came another way, from a member or an auditor with
// whom one compares, against the log. A coordinator that shows two histories
// has signed both: the error names it.
func (e *Evidence) Against(other run.Signed) error {
	head, ok := other.Statement.(run.Head)
	if !ok {
		return refuse("the other head", "it is a %s", other.Statement.Kind())
	}
	what := fmt.Sprintf("the other head, of %d records", head.Index)
	signers, err := other.Signers(e.ID)
	if err == nil {
		err = among(signers, e.coordinators, "a coordinator of this run")
	}
	if err != nil {
		return &Failure{what, err}
	}
	if head.Index > e.Size {
		return &Missing{what, fmt.Sprintf("this log has %d: fetch the evidence again to compare", e.Size)}
	}
	root := digest.Root(nil)
	if head.Index > 0 {
		root = e.roots[head.Index-1]
	}
	if head.Root == root {
		return nil
	}
	var both []string
	for _, a := range signers {
		if head.Index == e.Size && slices.Contains(e.Signers, a) {
			both = append(both, a.String())
		}
	}
	if len(both) > 0 {
		return refuse(what, "its root is %s, this log's is %s: two histories, and %s signed both; keep the two heads, they are the proof", head.Root, root, strings.Join(both, " and "))
	}
	return refuse(what, "its root is %s, this log's is %s: %s stands behind another history", head.Root, root, names(signers))
}

func names(list []identity.Address) string {
	var all []string
	for _, a := range list {
		all = append(all, a.String())
	}
	return strings.Join(all, ", ")
}
