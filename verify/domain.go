package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/allmend-network/allmend/shards"
)

// Domain is what a shard folder holds of a domain and its subdomains.
type Domain struct {
	Documents int64 // kept
	Tokens    int64 // of those
	Dropped   []shards.Drop
	Unchecked string // why dropped documents could not be looked at; "" if they were
}

// LookUp looks a domain up in a shard folder whose manifest is m, and which
// [Shards] has checked.
func LookUp(ctx context.Context, dir string, m shards.Manifest, domain string) (Domain, error) {
	var found Domain
	rules := map[[2]string]int64{}
	for _, f := range m.Files {
		var err error
		switch f.Kind {
		case shards.Documents:
			err = each(ctx, dir, f, func(d shards.Document) {
				if under(d.Domain, domain) {
					found.Documents++
					found.Tokens += d.TokenEnd - d.TokenStart
				}
			})
		case shards.Dropouts:
			err = each(ctx, dir, f, func(d shards.Dropped) {
				if under(d.Host, domain) {
					rules[[2]string{d.Stage, d.Rule}]++
				}
			})
			if errors.Is(err, fs.ErrNotExist) {
				found.Unchecked, err = f.Path+" is not here: it is served to members and admitted auditors only", nil
			}
		}
		if err != nil {
			return found, err
		}
	}
	for r, n := range rules {
		found.Dropped = append(found.Dropped, shards.Drop{Stage: r[0], Rule: r[1], Documents: n})
	}
	slices.SortFunc(found.Dropped, func(a, b shards.Drop) int {
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Rule, b.Rule))
	})
	return found, nil
}

// under reports whether a host, as a builder wrote it down, is a domain, given
// in ASCII, or below it. Ports do not matter, nor does how a name is written.
func under(host, domain string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// each calls use with every row of a file.
func each[T shards.Row](ctx context.Context, dir string, f shards.File, use func(T)) error {
	file, err := os.Open(filepath.Join(dir, filepath.FromSlash(f.Path)))
	if err != nil {
		return err
	}
	defer file.Close()
	for row, err := range shards.Rows[T](file, f.Bytes) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		use(row)
	}
	return nil
}
