package verify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// partial begins the names of files that are being written.
const partial = ".partial-"

// Writer writes an evidence folder, or adds to one. Each file appears whole and
// durable or not at all; one that is there already under the digest that names
// it is kept. A folder has one Writer at a time.
type Writer struct{ dir string }

// NewWriter returns a writer of the evidence folder dir, which is made if it
// does not exist. What an interrupted writer left unfinished is removed.
func NewWriter(dir string) (*Writer, error) {
	for _, folder := range []string{"", checkpointsDir, vectorsDir, unitsDir, shardsDir} {
		path := filepath.Join(dir, folder)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), partial) {
				if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
					return nil, err
				}
			}
		}
	}
	return &Writer{dir}, nil
}

// Has reports whether a file or folder, such as [VectorFile] or
// [CheckpointDir], is in the evidence folder.
func (w *Writer) Has(name string) bool {
	_, err := os.Lstat(filepath.Join(w.dir, name))
	return err == nil
}

// Spec writes the run's Spec.
func (w *Writer) Spec(spec run.Spec) error {
	b, err := spec.Marshal()
	if err != nil {
		return err
	}
	return w.bytes(SpecFile, b)
}

// Log writes the whole log, from its first record on. It replaces the log that
// is there; write the [Writer.Head] over it next.
func (w *Writer) Log(records iter.Seq2[[]byte, error]) error {
	return w.write(LogFile, func(out io.Writer) error {
		for b, err := range records {
			if err != nil {
				return err
			}
			if _, err := out.Write(append(b[:len(b):len(b)], '\n')); err != nil {
				return err
			}
		}
		return nil
	})
}

// Head writes the Head over the last record, with its signatures sorted by
// signer.
func (w *Writer) Head(head run.Signed) error {
	b, err := head.Marshal()
	if err != nil {
		return err
	}
	return w.bytes(HeadFile, b)
}

// Vector writes the bytes of a reduced vector or a contribution, if they are
// those that name names.
func (w *Writer) Vector(name digest.Sum, b []byte) error {
	if got := digest.BlockRoot(b); got != name {
		return refuse("vector "+name.String(), "the bytes are those of %s", got)
	}
	return w.keep(VectorFile(name), b)
}

// Units writes a contribution's unit hashes, if they are those that name names.
func (w *Writer) Units(name digest.Sum, units []digest.Sum) error {
	if got := trainer.UnitsRoot(units); got != name {
		return refuse("unit hashes "+name.String(), "they are those of %s", got)
	}
	var b []byte
	for _, u := range units {
		b = append(b, u[:]...)
	}
	return w.keep(UnitsFile(name), b)
}

// ShardManifest writes the manifest of the run's shards.
func (w *Writer) ShardManifest(b []byte) error { return w.bytes(ShardManifest, b) }

// Checkpoint writes the folder of a checkpoint: the manifest's bytes, each file
// it lists, from content, and signatures, which only the round-0 checkpoint has
// none of (nil). The files are held against the manifest before the folder
// appears. A folder of that round that is there already is kept.
func (w *Writer) Checkpoint(manifest []byte, signatures *checkpoint.Signatures, content func(checkpoint.File) (io.ReadCloser, error)) error {
	m, err := checkpoint.ParseManifest(manifest)
	if err != nil {
		return err
	}
	name := CheckpointDir(m.Round)
	if w.Has(name) {
		return nil
	}
	temp, err := os.MkdirTemp(filepath.Join(w.dir, checkpointsDir), partial+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := fill(temp, manifest, m.Files, content); err != nil {
		return fmt.Errorf("checkpoint of round %d: %w", m.Round, err)
	}
	if signatures != nil {
		if err := checkpoint.WriteSignatures(temp, *signatures); err != nil {
			return err
		}
	}
	if _, _, err := checkpoint.Check(temp); err != nil {
		return fmt.Errorf("checkpoint of round %d: %w", m.Round, err)
	}
	return errors.Join(os.Chmod(temp, 0o755), syncDir(temp), os.Rename(temp, filepath.Join(w.dir, name)), syncDir(filepath.Join(w.dir, checkpointsDir)))
}

// fill writes the manifest and the files of a checkpoint into dir.
func fill(dir string, manifest []byte, files []checkpoint.File, content func(checkpoint.File) (io.ReadCloser, error)) error {
	into := &Writer{dir}
	if err := into.bytes(checkpoint.ManifestFile, manifest); err != nil {
		return err
	}
	for _, f := range files {
		in, err := content(f)
		if err != nil {
			return err
		}
		err = into.write(f.Path, func(out io.Writer) error {
			_, err := io.Copy(out, io.LimitReader(in, f.Bytes+1))
			return err
		})
		if err := errors.Join(err, in.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

// keep writes a file that is named by its content, unless it is there.
func (w *Writer) keep(name string, b []byte) error {
	if info, err := os.Lstat(filepath.Join(w.dir, name)); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(b)) {
		return nil
	}
	return w.bytes(name, b)
}

func (w *Writer) bytes(name string, b []byte) error {
	return w.write(name, func(out io.Writer) error {
		_, err := out.Write(b)
		return err
	})
}

// write writes a file beside its place and then moves it there.
func (w *Writer) write(name string, content func(io.Writer) error) (err error) {
	path := filepath.Join(w.dir, name)
	f, err := os.CreateTemp(filepath.Dir(path), partial+"*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, errors.Join(err, ignoreMissing(os.Remove(f.Name()))))
		}
	}()
	out := bufio.NewWriterSize(f, 1<<16)
	if err := errors.Join(content(out), out.Flush(), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(f.Name(), path), syncDir(filepath.Dir(path)))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
