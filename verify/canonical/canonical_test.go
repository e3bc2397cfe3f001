package canonical_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/canonical"
)

// TestMarshal checks the rules of RFC 8785 one by one.
func TestMarshal(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"b":1,"a":[true,false,"x"]}`, `{"a":[true,false,"x"],"b":1}`},
		// Section 3.2.3: keys sort by UTF-16 code units, so U+1F600 (D83D …)
		// comes before U+FB33, though its code point is larger.
		{`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`, "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}"},
		// Section 3.2.2.2: the short escapes, \u00xx in lower case, nothing else.
		{`"\u0008\t\n\u000c\r\u0001\u001f\u007f\"\\\/<>&\u2028é"`, "\"\\b\\t\\n\\f\\r\\u0001\\u001f\u007f\\\"\\\\/<>&\u2028é\""},
		{`[0,-0,-5,9007199254740991,-9007199254740991]`, `[0,0,-5,9007199254740991,-9007199254740991]`},
		{`{}`, `{}`}, {`[]`, `[]`}, {`[{},[]]`, `[{},[]]`},
	} {
		got, err := canonical.Marshal(json.RawMessage(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.in, got, err, c.want)
		}
	}
	for _, bad := range []any{1.5, nil, json.RawMessage(`{"a":1,"a":2}`), json.RawMessage(`[1e2]`), json.RawMessage(`9007199254740992`), json.RawMessage(`{"a":null}`), []int(nil), make(chan int)} {
		if got, err := canonical.Marshal(bad); err == nil {
			t.Errorf("%v has an encoding: %s", bad, got)
		}
	}
}

type document struct {
	Name  string            `json:"name"`
	Count int               `json:"count"`
	Tags  []string          `json:"tags"`
	More  map[string]string `json:"more,omitempty"`
}

func TestUnmarshal(t *testing.T) {
	const good = `{"count":3,"name":"x","tags":["a"]}`
	var d document
	if err := canonical.Unmarshal([]byte(good), &d, 100); err != nil || d.Count != 3 || d.Name != "x" || len(d.Tags) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	deep := strings.Repeat(`[`, canonical.MaxDepth+1) + strings.Repeat(`]`, canonical.MaxDepth+1)
	for name, bad := range map[string]string{
		"longer than the limit": `{"count":3,"name":"` + strings.Repeat("x", 100) + `","tags":[]}`,
		"another order":         `{"name":"x","count":3,"tags":["a"]}`,
		"space":                 `{"count":3, "name":"x","tags":["a"]}`,
		"trailing newline":      good + "\n",
		"two documents":         good + good,
		"unknown key":           `{"count":3,"name":"x","tagz":["a"]}`,
		"additional key":        `{"a":1,"count":3,"name":"x","tags":["a"]}`,
		"missing key":           `{"count":3,"tags":["a"]}`,
		"key twice":             `{"count":3,"count":3,"name":"x","tags":["a"]}`,
		"case of a key":         `{"Count":3,"name":"x","tags":["a"]}`,
		"null":                  `{"count":3,"name":"x","tags":null}`,
		"fraction":              `{"count":3.0,"name":"x","tags":["a"]}`,
		"exponent":              `{"count":3e0,"name":"x","tags":["a"]}`,
		"minus zero":            `{"count":-0,"name":"x","tags":["a"]}`,
		"leading zero":          `{"count":03,"name":"x","tags":["a"]}`,
		"string for a number":   `{"count":"3","name":"x","tags":["a"]}`,
		"needless escape":       `{"count":3,"name":"\u0078","tags":["a"]}`,
		"upper-case escape":     `{"count":3,"name":"\u001F","tags":["a"]}`,
		"lone surrogate":        `{"count":3,"name":"\ud800","tags":["a"]}`,
		"not UTF-8":             "{\"count\":3,\"name\":\"\xff\",\"tags\":[\"a\"]}",
		"empty but omitted":     `{"count":3,"more":{},"name":"x","tags":["a"]}`,
		"deep":                  `{"count":3,"name":"x","tags":` + deep + `}`,
		"cut off":               good[:20],
		"nothing":               ``,
	} {
		var d document
		limit := 1000
		if name == "longer than the limit" {
			limit = 100
		}
		if err := canonical.Unmarshal([]byte(bad), &d, limit); err == nil {
			t.Errorf("%s: %s is accepted as %+v", name, bad, d)
		}
	}
}

// FuzzUnmarshal holds what was accepted to its one encoding, for a document of
// a fixed form and for one of any.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"count":3,"name":"x","tags":["a"]}`))
	f.Add([]byte(`{"a":[1,"\r\n",true],"b":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(document), new(any)} {
			if canonical.Unmarshal(b, v, 1<<16) != nil {
				continue
			}
			if back, err := canonical.Marshal(v); err != nil || !bytes.Equal(back, b) {
				t.Errorf("%s is accepted but encodes as %s (%v)", b, back, err)
			}
		}
	})
}
