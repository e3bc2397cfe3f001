package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/allmend-network/allmend/verify/digest"
)

// The files of an evidence folder, beside those of [CheckpointDir],
// [VectorFile] and [UnitsFile].
const (
	SpecFile      = "spec.json"            // canonical JSON; its SHA-256 is the run ID
	LogFile       = "log.jsonl"            // records from index 0, canonical JSON, one a line
	HeadFile      = "head.json"            // the Head over all of them, with k or more signatures
	ShardManifest = "shards/manifest.json" // of the shards; the shards themselves are fetched apart
)

const (
	checkpointsDir = "checkpoints"
	vectorsDir     = "vectors"
	unitsDir       = "units"
	shardsDir      = "shards"
	vectorSuffix   = ".f32"
)

const fetchHint = "allmend run fetch writes it"

// CheckpointDir returns the folder of the checkpoint after a round, inside an
// evidence folder.
func CheckpointDir(round uint64) string {
	return filepath.Join(checkpointsDir, fmt.Sprintf("%08d", round))
}

// VectorFile returns the file of a vector, inside an evidence folder: its
// elements as little-endian float32, and for its name their [trainer.Root].
func VectorFile(name digest.Sum) string { return filepath.Join(vectorsDir, name.String()+vectorSuffix) }

// UnitsFile returns the file of a contribution's unit hashes, one after
// another, inside an evidence folder; its name is their [trainer.UnitsRoot].
func UnitsFile(name digest.Sum) string { return filepath.Join(unitsDir, name.String()) }

// checkLayout refuses whatever does not belong into an evidence folder: files
// of other names, links, devices.
func checkLayout(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Missing{"the evidence folder " + dir, fetchHint}
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		file := name == SpecFile || name == LogFile || name == HeadFile
		folder := name == checkpointsDir || name == vectorsDir || name == unitsDir || name == shardsDir
		if !file && !folder {
			return extra(path)
		}
		if file && !entry.Type().IsRegular() || folder && !entry.IsDir() {
			return irregular(path, entry)
		}
		if folder {
			if err := checkFolder(path, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFolder does the same for one of its folders. What is inside a
// checkpoint is checked with the checkpoint.
func checkFolder(dir, kind string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path, known, folder := filepath.Join(dir, entry.Name()), false, false
		switch kind {
		case checkpointsDir:
			_, known = roundOf(entry.Name())
			folder = true
		case vectorsDir:
			_, known = vectorName(entry.Name())
		case unitsDir:
			_, err := digest.Parse(entry.Name())
			known = err == nil
		case shardsDir:
			known = entry.Name() == filepath.Base(ShardManifest)
		}
		if !known {
			return extra(path)
		}
		if folder && !entry.IsDir() || !folder && !entry.Type().IsRegular() {
			return irregular(path, entry)
		}
	}
	return nil
}

func extra(path string) error {
	return refuse(path, "an extra file: nothing of this name belongs into an evidence folder; move it away to check the rest")
}

func irregular(path string, entry fs.DirEntry) error {
	return refuse(path, "it is a %s: evidence is plain files in plain folders", kindOf(entry.Type()))
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode.IsDir():
		return "folder"
	case mode.IsRegular():
		return "file"
	}
	return "special file"
}

// roundOf reads the name of a checkpoint's folder.
func roundOf(name string) (uint64, bool) {
	round, err := strconv.ParseUint(name, 10, 64)
	return round, err == nil && name == filepath.Base(CheckpointDir(round))
}

// vectorName reads the name of a vector's file.
func vectorName(name string) (digest.Sum, bool) {
	text, ok := strings.CutSuffix(name, vectorSuffix)
	sum, err := digest.Parse(text)
	return sum, ok && err == nil
}

// CheckpointDirs returns the checkpoint folders inside the evidence, by round.
func (e *Evidence) CheckpointDirs() (map[uint64]string, error) {
	dirs := map[uint64]string{}
	entries, err := os.ReadDir(e.path(checkpointsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if round, ok := roundOf(entry.Name()); ok {
			dirs[round] = e.path(CheckpointDir(round))
		}
	}
	return dirs, nil
}

// names returns the files of one of the evidence's folders, sorted.
func (e *Evidence) names(folder string) ([]string, error) {
	entries, err := os.ReadDir(e.path(folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	slices.Sort(names)
	return names, nil
}

func (e *Evidence) path(name string) string { return filepath.Join(e.Dir, name) }

// open opens a file of the evidence, which must be no link or device.
func (e *Evidence) openFile(name string) (*os.File, error) {
	info, err := os.Lstat(e.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Missing{e.path(name), fetchHint}
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, refuse(e.path(name), "it is a %s: evidence is plain files in plain folders", kindOf(info.Mode()))
	}
	return os.Open(e.path(name))
}

// read reads a file of at most limit bytes.
func (e *Evidence) read(name string, limit int64) ([]byte, error) {
	f, err := e.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, refuse(e.path(name), "it is larger than the %d bytes that are due", limit)
	}
	return b, nil
}
