package warc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// small is a WARC of three records; per member when it comes from a Writer.
func small(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	common := func(kind, id string) Header {
		return Header{{"WARC-Type", kind}, {"WARC-Record-ID", "<urn:uuid:" + id + ">"}, {"WARC-Date", "2026-01-02T03:04:05Z"}}
	}
	write := func(h Header, block string) {
		if err := w.Write(h, []byte(block)); err != nil {
			t.Fatal(err)
		}
	}
	write(append(common("warcinfo", "1"), Field{"Content-Type", "application/warc-fields"}), "software: allmend\r\n")
	write(append(common("response", "2"), Field{"WARC-Target-URI", "<https://alp.example/>"},
		Field{"Content-Type", "application/http; msgtype=response"}),
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<p>Sa\r\n6;x=y\r\nlut</p\r\n1\r\n>\r\n0\r\n\r\n")
	write(append(common("metadata", "3"), Field{"Content-Type", "text/plain"}), "")
	return out.Bytes()
}

func plain(t testing.TB, gz []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func oneMember(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func readAll(data []byte) ([]*Record, error) {
	r, err := NewReader("test.warc", bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var recs []*Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return recs, nil
		}
		if err != nil {
			return recs, err
		}
		recs = append(recs, rec)
	}
}

func TestWriterGolden(t *testing.T) {
	const want = "bfcd1957"
	sum := sha256.Sum256(plain(t, small(t)))
	if got := hex.EncodeToString(sum[:4]); got != want {
		t.Errorf("uncompressed bytes of the small file hash to %s, want %s", got, want)
	}
}

func TestThreeWrappingsReadTheSame(t *testing.T) {
	members := small(t)
	text := plain(t, members)
	var want []*Record
	for name, data := range map[string][]byte{"members": members, "one member": oneMember(t, text), "plain": text} {
		recs, err := readAll(data)
		if err != nil || len(recs) != 3 {
			t.Fatalf("%s: %d records, %v", name, len(recs), err)
		}
		if want == nil {
			want = recs
		}
		for i := range recs {
			if recs[i].SHA256 != want[i].SHA256 || !bytes.Equal(recs[i].Block, want[i].Block) {
				t.Errorf("%s: record %d differs", name, i)
			}
			if v := recs[i].BlockDigest(); v != Match {
				t.Errorf("%s: record %d block digest verdict %d", name, i, v)
			}
		}
		if got := recs[1].TargetURI(); got != "https://alp.example/" {
			t.Errorf("target %q", got)
		}
		resp, err := recs[1].HTTP(1 << 20)
		if err != nil || resp.Status != 200 || string(resp.Body) != "<p>Salut</p>" || resp.Damage != "" {
			t.Errorf("%s: response %+v, %v", name, resp, err)
		}
	}
}

// An offset is only worth something if reading from there gives the same record.
func TestOffsetsLeadBack(t *testing.T) {
	data := small(t)
	for _, file := range [][]byte{data, plain(t, data)} {
		recs, err := readAll(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recs {
			again, err := readAll(file[rec.Offset:])
			if err != nil || again[0].SHA256 != rec.SHA256 || rec.Within != 0 {
				t.Errorf("record at %s cannot be read from there: %v", rec.Position, err)
			}
		}
	}
	recs, _ := readAll(oneMember(t, plain(t, data)))
	text := plain(t, data)
	for _, rec := range recs {
		again, err := readAll(text[rec.Within:])
		if rec.Offset != 0 || err != nil || again[0].SHA256 != rec.SHA256 {
			t.Errorf("record at %s is not there: %v", rec.Position, err)
		}
	}
}

func TestTruncationKeepsWhatWasRead(t *testing.T) {
	data := small(t)
	text := plain(t, data)
	for name, file := range map[string][]byte{"members": data, "one member": oneMember(t, text), "plain": text} {
		for cut := 1; cut < len(file); cut++ {
			recs, err := readAll(file[:cut])
			if err == nil {
				continue // a cut between records, or in the blank lines after the last
			}
			var damage *Error
			if !errors.As(err, &damage) || damage.File != "test.warc" || damage.Offset > int64(cut) {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
			if name == "members" && len(recs) > 0 && recs[len(recs)-1].Compare(damage.Position) >= 0 {
				t.Fatalf("cut at %d: damage at %d lies before a record that was read", cut, damage.Offset)
			}
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	good := string(plain(t, small(t)))
	for _, c := range []struct{ name, data, want string }{
		{"garbage", "not a warc\r\n\r\n", "expected a WARC version line"},
		{"garbage after a record", good + "oops\r\n", "expected a WARC version line"},
		{"arc", "filedesc://x 0.0.0.0 2008 text/plain 1", "ARC"},
		{"zstd", "\x28\xb5\x2f\xfd0000", "zstd"},
		{"negative length", "WARC/1.0\r\nContent-Length: -1\r\n\r\n", "Content-Length"},
		{"no length", "WARC/1.0\r\nWARC-Type: response\r\n\r\n", "Content-Length"},
		{"huge length", "WARC/1.0\r\nContent-Length: 60000000\r\n\r\nabc", "cut off: 3 of 60000000"},
		{"endless header", "WARC/1.0\r\n" + strings.Repeat("a", 1<<17), "too long"},
		{"many lines", "WARC/1.0\r\n" + strings.Repeat("a: b\r\n", 300), "more than 256 lines"},
		{"no colon", "WARC/1.0\r\nabc\r\n\r\n", "no colon"},
	} {
		_, err := readAll([]byte(c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "test.warc") {
			t.Errorf("%s: error %v, want %q and the file", c.name, err, c.want)
		}
	}
	bad := small(t)
	bad[len(bad)/2] ^= 0x40
	if _, err := readAll(bad); err == nil {
		t.Error("a flipped bit in a gzip member went unnoticed")
	}
}

func TestOversizeIsSkipped(t *testing.T) {
	r, err := NewReader("test.warc", bytes.NewReader(small(t)))
	if err != nil {
		t.Fatal(err)
	}
	r.MaxBlock = 30
	var over int
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Oversize {
			over++
		}
	}
	if over != 1 {
		t.Errorf("%d oversize records, want 1", over)
	}
}

func TestBodyDecoding(t *testing.T) {
	gz := string(oneMember(t, []byte("hello")))
	for _, c := range []struct{ name, header, body, want, damage string }{
		{"gzip", "Content-Encoding: gzip", gz, "hello", ""},
		{"gzip, already undone", "Content-Encoding: gzip", "hello", "hello", ""},
		{"chunked, already undone", "Transfer-Encoding: chunked", "<hello>", "<hello>", ""},
		{"chunked cut", "Transfer-Encoding: chunked", "5\r\nhel", "hel", "cut off"},
		{"chunked gzip", "Transfer-Encoding: chunked\r\nContent-Encoding: gzip", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(gz), gz), "hello", ""},
		{"gzip cut", "Content-Encoding: gzip", gz[:len(gz)-4], "hello", "unexpected EOF"},
		{"many", "Content-Encoding: gzip" + strings.Repeat(", gzip", 9), gz, "", "10 content encodings"},
		{"unknown", "Content-Encoding: br", "xyz", "", "not supported"},
		{"too long", "A: b", strings.Repeat("x", 101), strings.Repeat("x", 100), "longer than 100"},
	} {
		rec := &Record{Block: []byte("HTTP/1.1 200 OK\r\n" + c.header + "\r\n\r\n" + c.body)}
		resp, err := rec.HTTP(100)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if string(resp.Body) != c.want || !strings.Contains(resp.Damage, c.damage) || (c.damage == "") != (resp.Damage == "") {
			t.Errorf("%s: body %q damage %q, want %q %q", c.name, resp.Body, resp.Damage, c.want, c.damage)
		}
	}
}

// TestRealFiles compares the reader with an independent one on real crawls.
func TestRealFiles(t *testing.T) {
	dir := sharedData(t, "warc")
	var expected map[string]struct {
		Records       int            `json:"records"`
		ByType        map[string]int `json:"by_type"`
		HTML          int            `json:"http200_html"`
		BlockDigest   [2]int         `json:"block_digest_ok_bad"`
		PayloadDigest [2]int         `json:"payload_digest_ok_bad"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatal(err)
	}
	for name, want := range expected {
		if name == "warcio-iana-chunked.warc" {
			// Its digests are right, but in hexadecimal, which the reader behind expected.json does not know.
			want.BlockDigest, want.PayloadDigest = [2]int{2, 0}, [2]int{1, 0}
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		recs, err := readAll(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		byType := map[string]int{}
		var block, payload [3]int
		html := 0
		for _, rec := range recs {
			byType[rec.Type()]++
			block[rec.BlockDigest()]++
			payload[rec.PayloadDigest()]++
			if rec.Type() == "response" {
				if resp, err := rec.HTTP(64 << 20); err == nil && resp.Status == 200 && strings.Contains(resp.Header.Get("Content-Type"), "html") {
					html++
				}
			}
		}
		if len(recs) != want.Records || html != want.HTML || fmt.Sprint(byType) != fmt.Sprint(want.ByType) ||
			[2]int(block[1:]) != want.BlockDigest || [2]int(payload[1:]) != want.PayloadDigest {
			t.Errorf("%s: records %d html %d types %v block %v payload %v,\nwant %+v", name, len(recs), html, byType, block[1:], payload[1:], want)
		}
	}
}

// sharedData finds the folder of real test input beside the checkout, or skips.
func sharedData(t *testing.T, sub string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Skip("no go.mod above the test: cannot find ../shared")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "data", sub)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real test input is not here: %v", err)
	}
	return path
}

func FuzzReader(f *testing.F) {
	data := small(f)
	f.Add(data)
	f.Add(plain(f, data))
	f.Add(oneMember(f, plain(f, data)))
	f.Add([]byte("WARC/1.0\r\nContent-Length: 99999999999\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader("fuzz", bytes.NewReader(data))
		if err != nil {
			return
		}
		r.MaxBlock = 1 << 20
		last := Position{-1, 0}
		for {
			rec, err := r.Next()
			if err != nil {
				if _, again := r.Next(); again != err {
					t.Fatal("an error must stay")
				}
				return
			}
			if rec.Compare(last) <= 0 {
				t.Fatalf("record at %s follows one at %s", rec.Position, last)
			}
			last = rec.Position
			if resp, err := rec.HTTP(1 << 16); err == nil && len(resp.Body) > 1<<16 {
				t.Fatal("body over its limit")
			}
		}
	})
}
