package coordinator

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/hashicorp/raft"
)

func header(a identity.Address) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte(a.String()), Addr: []byte(a.String())}
}

// forgedFrames returns requests that a coordinator must refuse and answer by
// closing the connection.
func forgedFrames(self, other identity.Address) map[string][]byte {
	request := func(kind byte, v any) []byte {
		b := bytes.NewBuffer([]byte{kind})
		if err := writeJSON(b, v); err != nil {
			panic(err)
		}
		return b.Bytes()
	}
	const last = math.MaxUint64
	return map[string][]byte{
		"append of the last term":         request(kindAppend, appendHead{Request: raft.AppendEntriesRequest{RPCHeader: header(self), Term: last}}),
		"heartbeat of another":            request(kindAppend, appendHead{Request: raft.AppendEntriesRequest{RPCHeader: header(other), Term: 3}}),
		"vote of the last term":           request(kindVote, raft.RequestVoteRequest{RPCHeader: header(self), Term: last, LeadershipTransfer: true}),
		"pre-vote of the last term":       request(kindPreVote, raft.RequestPreVoteRequest{RPCHeader: header(self), Term: last}),
		"snapshot of the last term":       request(kindInstall, raft.InstallSnapshotRequest{RPCHeader: header(self), Term: last, Size: 10}),
		"snapshot without an end":         request(kindInstall, raft.InstallSnapshotRequest{RPCHeader: header(self), Term: 1, Size: math.MaxInt64}),
		"election called by nobody":       request(kindTimeoutNow, raft.TimeoutNowRequest{RPCHeader: header(other)}),
		"append without an end":           request(kindAppend, appendHead{Request: raft.AppendEntriesRequest{RPCHeader: header(self), Term: 1}, Entries: math.MaxInt}),
		"frame of 4 GiB":                  {kindVote, 0xff, 0xff, 0xff, 0xff},
		"statement of 4 GiB":              {kindPropose, 0xff, 0xff, 0xff, 0xff},
		"head of 4 GiB":                   {kindHead, 0xff, 0xff, 0xff, 0xff},
		"no JSON":                         append([]byte{kindVote, 0, 0, 0, 4}, "null"[:3]+"x"...),
		"unknown kind":                    {0x7f},
		"raft's own msgpack":              {0x00, 0x8a, 0xa4},
		"frame that never comes in whole": {kindVote, 0, 0, 0, 4, '{'},
	}
}

func TestAppendGolden(t *testing.T) {
	request := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("a"), Addr: []byte("a")}, Term: 2, PrevLogEntry: 3, PrevLogTerm: 1,
		Entries:           []*raft.Log{{Index: 4, Term: 2, Data: []byte("x"), AppendedAt: time.Unix(0, 0).UTC()}},
		LeaderCommitIndex: 3,
	}
	var b bytes.Buffer
	if err := writeAppend(&b, request); err != nil {
		t.Fatal(err)
	}
	want := "000000a4" + hex.EncodeToString([]byte(`{"Request":{"ProtocolVersion":3,"ID":"YQ==","Addr":"YQ==","Term":2,"Leader":null,"PrevLogEntry":3,"PrevLogTerm":1,"Entries":null,"LeaderCommitIndex":3},"Entries":1}`)) +
		"00000061" + hex.EncodeToString([]byte(`{"Index":4,"Term":2,"Type":0,"Data":"eA==","Extensions":null,"AppendedAt":"1970-01-01T00:00:00Z"}`))
	if got := hex.EncodeToString(b.Bytes()); got != want {
		t.Errorf("got  %s\nwant %s\n%s", got, want, b.Bytes())
	}
	back, err := readAppend(&b)
	if err != nil || !reflect.DeepEqual(back, request) {
		t.Errorf("read %+v, %v", back, err)
	}
}

func FuzzReadAppend(f *testing.F) {
	var b bytes.Buffer
	if err := writeAppend(&b, &raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, Data: []byte("x")}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		request, err := readAppend(bytes.NewReader(b))
		if err == nil && len(request.Entries) > maxBodies {
			t.Errorf("%d entries", len(request.Entries))
		}
	})
}
