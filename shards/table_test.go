package shards_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

func documents(n int) []shards.Document {
	rows := make([]shards.Document, n)
	for i := range rows {
		text := fmt.Sprintf("Document number %d. %s", i, strings.Repeat("Allmend ist gemeinsames Land. ", i%50))
		rows[i] = shards.Document{Text: text, SHA256: digest.Of([]byte(text)).String(), URL: fmt.Sprintf("https://site%d.example/%d", i%7, i),
			Domain: fmt.Sprintf("site%d.example", i%7), Date: "2026-11-23T00:00:00Z", Language: "deu", Script: "Latin",
			LanguageConfidence: 0.875, Robots: "allowed", PIIEmail: int32(i % 3), SourceFile: "a.warc.gz", SourceOffset: int64(i) << 33,
			TokenStart: int64(i) * 10, TokenEnd: int64(i)*10 + 10}
	}
	return rows
}

func table[T shards.Row](t *testing.T, rows []T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := shards.NewTableWriter[T](&buf)
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func rows[T shards.Row](b []byte) (rows []T, err error) {
	for row, err := range shards.Rows[T](bytes.NewReader(b), int64(len(b))) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func TestTableRoundTrip(t *testing.T) {
	want := documents(1000)
	b := table(t, want)
	got, err := rows[shards.Document](b)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d of %d documents come back, %v", len(got), len(want), err)
	}
	drops := []shards.Dropped{{Stage: "robots", Rule: "disallowed", Evidence: "line 3: Disallow: /", Host: "a.example", PathHash: shards.PathHash([]byte("salt"), "/x?y"), SourceFile: "b.jsonl", SourceOffset: 9}}
	back, err := rows[shards.Dropped](table(t, drops))
	if err != nil || !slices.Equal(back, drops) {
		t.Fatalf("dropped: %v, %v", back, err)
	}
	if empty, err := rows[shards.Dropped](table[shards.Dropped](t, nil)); err != nil || len(empty) != 0 {
		t.Fatalf("no rows: %v, %v", empty, err)
	}
	if _, err := rows[shards.Dropped](b); err == nil || !strings.Contains(err.Error(), "other columns") {
		t.Fatalf("documents read as drops: %v", err)
	}
}

func TestTableIsDeterministic(t *testing.T) {
	want := digest.Of(table(t, documents(3000)))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if got := digest.Of(table(t, documents(3000))); got != want {
		t.Fatalf("the same rows gave %v and %v", got, want)
	}
}

func TestPathHash(t *testing.T) {
	// printf %s '/a?b' | openssl dgst -sha256 -hmac salt
	const want = "904359e990c572e59e7c4102ad29509ae69b3a7e3a26969af987f382f5bdb934"
	if got := shards.PathHash([]byte("salt"), "/a?b"); got != want {
		t.Fatalf("PathHash = %s, want %s", got, want)
	}
}
