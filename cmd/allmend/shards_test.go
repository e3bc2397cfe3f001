package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/rogpeppe/go-internal/testscript"
)

// smallShards is a script command that writes a shard folder by hand, so that
// a run ID in a script depends on formats only: "smallshards DIR".
func smallShards(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: smallshards folder")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(writeShards(dir, []string{strings.Repeat("The common land of the village. ", 40), strings.Repeat("Das gemeine Land des Dorfes. ", 40)}))
}

func writeShards(dir string, texts []string) error {
	words, err := tokenizer.Train(slices.Values(texts), tokenizer.TrainOptions{VocabSize: 400})
	if err != nil {
		return err
	}
	var bin, table bytes.Buffer
	var index shards.Index
	rows := shards.NewTableWriter[shards.Document](&table)
	var at int64
	for _, text := range texts {
		tokens := append(words.Append([]int32{model.BeginOfText}, text), model.EndOfText)
		index.Lengths = append(index.Lengths, int32(len(tokens)))
		bin.Write(shards.AppendTokens(nil, tokens))
		if err := rows.Write(shards.Document{Text: text, Language: "und", TokenStart: at, TokenEnd: at + int64(len(tokens))}); err != nil {
			return err
		}
		at += int64(len(tokens))
	}
	if err := rows.Close(); err != nil {
		return err
	}
	n := int64(len(texts))
	m := shards.Manifest{
		Version: 1, Name: "small", Documents: n, Tokens: at,
		Languages: []shards.Language{{Language: "und", Documents: n, Tokens: at}},
		Stages:    []shards.Stage{}, NotApplied: []string{"licence", "toxicity"}, Drops: []shards.Drop{},
	}
	for _, f := range []struct {
		shards.File
		content []byte
	}{
		{shards.File{Path: "documents-00000.parquet", Kind: shards.Documents, Documents: n, Tokens: at}, table.Bytes()},
		{shards.File{Path: "tokenizer.json", Kind: shards.Tokenizer}, words.Marshal()},
		{shards.File{Path: "tokens-00000.bin", Kind: shards.Tokens, Documents: n, Tokens: at}, bin.Bytes()},
		{shards.File{Path: "tokens-00000.idx", Kind: shards.TokenIdx, Documents: n, Tokens: at}, index.Marshal()},
	} {
		f.Bytes, f.SHA256, f.Blocks = int64(len(f.content)), digest.Of(f.content), digest.Blocks(f.content)
		m.Files = append(m.Files, f.File)
		if err := os.WriteFile(filepath.Join(dir, f.Path), f.content, 0o644); err != nil {
			return err
		}
	}
	m.Tokenizer = words.Digest()
	b, err := m.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, shards.ManifestName), b, 0o644)
}
