package verify

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/verify/digest"
)

// Objects is what [Evidence.Objects] found to be what its names say.
type Objects struct {
	Vectors int
	Units   int // files of unit hashes
	Bytes   int64
}

// Vector reads a reduced vector or a contribution and checks it against its
// name.
func (e *Evidence) Vector(name digest.Sum) ([]float32, error) {
	size := 4 * int64(e.Spec.Model.Params())
	b, err := e.read(VectorFile(name), size)
	if err != nil {
		return nil, err
	}
	if got := digest.BlockRoot(b); got != name {
		return nil, refuse(e.path(VectorFile(name)), "its bytes are those of %s", got)
	}
	v, err := trainer.Vector(b, e.Spec.Model.Params())
	if err != nil {
		return nil, &Failure{e.path(VectorFile(name)), err}
	}
	return v, nil
}

// Units reads the hashes of a contribution's units and checks them against
// their name.
func (e *Evidence) Units(name digest.Sum) ([]digest.Sum, error) {
	b, err := e.read(UnitsFile(name), int64(e.Spec.Batch/e.Spec.Unit)*int64(len(name)))
	if err != nil {
		return nil, err
	}
	if len(b)%len(name) != 0 {
		return nil, refuse(e.path(UnitsFile(name)), "%d bytes are no list of hashes", len(b))
	}
	units := make([]digest.Sum, len(b)/len(name))
	for i := range units {
		copy(units[i][:], b[i*len(name):])
	}
	if got := trainer.UnitsRoot(units); got != name {
		return nil, refuse(e.path(UnitsFile(name)), "its bytes are those of %s", got)
	}
	return units, nil
}

// HasVector reports whether a vector's file is there. It does not read it.
func (e *Evidence) HasVector(name digest.Sum) bool {
	_, err := os.Lstat(e.path(VectorFile(name)))
	return err == nil
}

// HasUnits reports whether a file of unit hashes is there.
func (e *Evidence) HasUnits(name digest.Sum) bool {
	_, err := os.Lstat(e.path(UnitsFile(name)))
	return err == nil
}

// Objects reads every vector, every list of unit hashes and the shard manifest
// in the evidence: each must be named by the log, and have the bytes that its
// name says. Progress, if not nil, is told the bytes of each file.
func (e *Evidence) Objects(ctx context.Context, progress func(bytes int64)) (Objects, error) {
	var found Objects
	if progress == nil {
		progress = func(int64) {}
	}
	vectors, err := e.names(vectorsDir)
	if err != nil {
		return found, err
	}
	for _, file := range vectors {
		name, _ := vectorName(file)
		if !e.vectors[name] {
			return found, unnamed(e.path(VectorFile(name)))
		}
		if err := ctx.Err(); err != nil {
			return found, err
		}
		v, err := e.Vector(name)
		if err != nil {
			return found, err
		}
		found.Vectors++
		found.Bytes += 4 * int64(len(v))
		progress(4 * int64(len(v)))
	}
	units, err := e.names(unitsDir)
	if err != nil {
		return found, err
	}
	for _, file := range units {
		name, err := digest.Parse(file)
		if err != nil || !e.units[name] {
			return found, unnamed(e.path(UnitsFile(name)))
		}
		u, err := e.Units(name)
		if err != nil {
			return found, err
		}
		found.Units++
		found.Bytes += int64(len(u) * len(name))
	}
	return found, e.shardManifest()
}

// unnamed refuses a file that no record speaks of.
func unnamed(path string) error {
	return refuse(path, "an extra file: no record of the log names it; move it away to check the rest")
}

func (e *Evidence) shardManifest() error {
	if _, err := os.Lstat(e.path(ShardManifest)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b, err := e.read(ShardManifest, shards.MaxManifestSize)
	if err != nil {
		return err
	}
	if got := digest.Of(b); got != e.Spec.Shards {
		return refuse(e.path(ShardManifest), "its SHA-256 is %s; the run used shards %s", got, e.Spec.Shards)
	}
	return nil
}
