package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/tokenizer"
)

// packLimit bounds one .bin file with its index and documents; a document that is longer has a file of its own.
type packLimit struct {
	tokens    int64
	documents int
}

// defaultLimit makes .bin files of 256 MiB.
func defaultLimit() packLimit { return packLimit{tokens: 1 << 26, documents: 1 << 22} }

// packer writes the documents kept, in their shuffled order, as numbered files of tokens, index and documents.
type packer struct {
	dir      string
	limit    packLimit
	number   int
	tokens   int64 // in the files before this one and in this one
	in       int64 // in this one
	index    shards.Index
	bin      *os.File
	out      *bufio.Writer
	document *table[shards.Document]
	buf      []byte
	files    []shards.File // of the files finished
}

// tokenized is a document and its tokens, <s> and </s> included.
type tokenized struct {
	row    shards.Document
	tokens []int32
}

func (b *builder) pack(ctx context.Context) error {
	bos, eos, err := ends(b.report.Tokenizer)
	if err != nil {
		return err
	}
	b.spool.shuffle()
	p := &packer{dir: b.temp, limit: defaultLimit()}
	defer p.abandon()
	for start := 0; start < len(b.spool.entries); {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, err := b.batch(start)
		if err != nil {
			return err
		}
		work := func(row shards.Document) tokenized {
			tokens := b.report.Tokenizer.Append([]int32{bos}, row.Text)
			return tokenized{row: row, tokens: append(tokens, eos)}
		}
		for _, d := range parallel(batch, work) {
			if err := p.add(d); err != nil {
				return err
			}
			b.counts.keep(d.row.Language, int64(len(d.tokens)))
		}
		start += len(batch)
		b.Progress("pack", start)
	}
	if err := p.finish(); err != nil {
		return err
	}
	b.report.Manifest.Files = append(b.report.Manifest.Files, p.files...)
	return nil
}

// batch reads some documents from the spool.
func (b *builder) batch(start int) (batch []shards.Document, err error) {
	size := 0
	for i := start; i < len(b.spool.entries) && len(batch) < batchDocuments && size < batchBytes; i++ {
		row, err := b.spool.document(i)
		if err != nil {
			return nil, err
		}
		batch = append(batch, row)
		size += len(row.Text)
	}
	return batch, nil
}

// ends returns the tokens that begin and end a document.
func ends(t *tokenizer.Tokenizer) (bos, eos int32, err error) {
	bos, ok := t.ID("<s>")
	eos, also := t.ID("</s>")
	if !ok || !also {
		return 0, 0, errors.New("the tokenizer has no <s> and </s> to put around documents; use one made by `allmend shards tokenizer`")
	}
	return bos, eos, nil
}

func (p *packer) add(d tokenized) error {
	if p.bin != nil && (p.in+int64(len(d.tokens)) > p.limit.tokens || len(p.index.Lengths) == p.limit.documents) {
		if err := p.finish(); err != nil {
			return err
		}
	}
	if p.bin == nil {
		if err := p.begin(); err != nil {
			return err
		}
	}
	p.buf = shards.AppendTokens(p.buf[:0], d.tokens)
	if _, err := p.out.Write(p.buf); err != nil {
		return err
	}
	p.index.Lengths = append(p.index.Lengths, int32(len(d.tokens)))
	d.row.TokenStart = p.tokens
	p.tokens += int64(len(d.tokens))
	p.in += int64(len(d.tokens))
	d.row.TokenEnd = p.tokens
	return p.document.Write(d.row)
}

func (p *packer) name(format string) string { return fmt.Sprintf(format, p.number) }

func (p *packer) begin() error {
	var err error
	if p.bin, err = os.OpenFile(filepath.Join(p.dir, p.name("tokens-%05d.bin")), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
		return err
	}
	p.out = bufio.NewWriterSize(p.bin, 1<<20)
	p.document, err = newTable[shards.Document](p.dir, p.name("documents-%05d.parquet"))
	return err
}

// finish completes the files of this number.
func (p *packer) finish() error {
	err := errors.Join(p.out.Flush(), p.bin.Sync(), p.bin.Close(), p.document.finish())
	p.bin = nil
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(p.dir, p.name("tokens-%05d.idx")), p.index.Marshal()); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		kind shards.Kind
	}{{p.name("tokens-%05d.bin"), shards.Tokens}, {p.name("tokens-%05d.idx"), shards.TokenIdx}, {p.name("documents-%05d.parquet"), shards.Documents}} {
		row, err := fileRow(p.dir, f.name, f.kind)
		if err != nil {
			return err
		}
		row.Documents, row.Tokens = int64(len(p.index.Lengths)), p.in
		p.files = append(p.files, row)
	}
	p.number, p.in, p.index.Lengths = p.number+1, 0, p.index.Lengths[:0]
	return nil
}

// abandon closes what a failed build left open.
func (p *packer) abandon() {
	if p.bin != nil {
		p.bin.Close()
	}
	if p.document != nil {
		p.document.abandon()
	}
}
