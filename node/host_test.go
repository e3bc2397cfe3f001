package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/testrun"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
)

var testRun = digest.Of([]byte("run"))

// host starts a host of a test on loopback.
func testHost(t *testing.T, name string, change func(*HostConfig)) *Host {
	t.Helper()
	cfg := HostConfig{
		Key: testrun.Key(name), Run: testRun, Software: "allmend/test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Strangers: DefaultStrangers,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	h, err := OpenHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// meet lets a know where b is.
func meet(t *testing.T, a, b *Host) {
	t.Helper()
	_, info, err := ParseContact(b.Contact().At...)
	if err == nil {
		err = a.Learn(info)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const echoID = protocol.ID("/allmend/1/echo")

func serveEcho(h *Host, least Role) {
	h.handle(echoID, least, func(_ context.Context, s *stream) error {
		b, err := readFrame(s, 100)
		if err != nil {
			return err
		}
		return writeFrame(s, b)
	})
}

func echo(t *testing.T, from *Host, to identity.Address, text string) (string, error) {
	s, done, err := from.open(soon(t), to, echoID)
	if err != nil {
		return "", err
	}
	defer done()
	if err := writeFrame(s, []byte(text)); err != nil {
		return "", err
	}
	b, err := readFrame(s, 100)
	return string(b), err
}

func TestAddressIsThePeersKey(t *testing.T) {
	for _, name := range []string{"a", "b", "c"} {
		key := testrun.Key(name)
		id, err := PeerID(key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := AddressOf(id); err != nil || got != key.Address() {
			t.Errorf("AddressOf(%s) = %v, %v; want %v", id, got, err, key.Address())
		}
	}
}

func TestRefusals(t *testing.T) {
	server := testHost(t, "server", nil)
	member := testrun.Key("member").Address()
	server.SetRoles(func(a identity.Address) Role {
		if a == member {
			return RoleMember
		}
		return RoleStranger
	})
	serveEcho(server, RoleMember)
	t.Run("member", func(t *testing.T) {
		h := testHost(t, "member", nil)
		meet(t, h, server)
		if got, err := echo(t, h, server.Self(), "hello"); err != nil || got != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := echo(t, h, server.Self(), strings.Repeat("x", 101)); err == nil {
			t.Error("an oversized frame was answered")
		}
	})
	t.Run("no member", func(t *testing.T) {
		h := testHost(t, "stranger", nil)
		meet(t, h, server)
		var refused *RefusedError
		if _, err := echo(t, h, server.Self(), "hello"); !errors.As(err, &refused) || !strings.Contains(refused.Reason, h.Self().String()+" is a stranger") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("other run", func(t *testing.T) {
		h := testHost(t, "member", func(c *HostConfig) { c.Run = digest.Of([]byte("other")) })
		meet(t, h, server)
		if _, err := echo(t, h, server.Self(), "hello"); err == nil || !strings.Contains(err.Error(), "run "+testRun.Short()) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("other role", func(t *testing.T) {
		h := testHost(t, "member", nil)
		meet(t, h, server)
		if _, _, err := h.open(soon(t), server.Self(), submitID); err == nil || !strings.Contains(err.Error(), "does not speak "+string(submitID)) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		h := testHost(t, "member", nil)
		if _, err := echo(t, h, server.Self(), "hello"); err == nil || !strings.Contains(err.Error(), "nobody has said yet where") {
			t.Errorf("got %v", err)
		}
	})
}

// TestOtherVersion demands that both sides name both versions, and that
// neither waits.
func TestOtherVersion(t *testing.T) {
	server, client := testHost(t, "server", nil), testHost(t, "client", nil)
	serveEcho(server, RoleStranger)
	meet(t, client, server)
	ctx := soon(t)
	info, _ := client.book.Find(server.Self())
	if err := client.connect(ctx, info); err != nil {
		t.Fatal(err)
	}
	raw, err := client.libp2p.NewStream(ctx, info.ID, echoID)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{raw, server.Self(), streamTimeout}
	if err := writeDocument(s, hello{Version + 1, "allmend/next", testRun, ""}); err != nil {
		t.Fatal(err)
	}
	var theirs hello
	if err := readDocument(s, &theirs, maxHello); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(theirs.Refused, "allmend/next with protocol version 2, this is version 1") {
		t.Errorf("refused with %q", theirs.Refused)
	}
	theirs.Version = Version + 1
	var version *VersionError
	if err := client.judge(server.Self(), theirs); !errors.As(err, &version) || version.Theirs != Version+1 {
		t.Errorf("got %v", err)
	}
}

func TestStrangersAreBounded(t *testing.T) {
	server := testHost(t, "server", func(c *HostConfig) { c.Strangers = 1 })
	serveEcho(server, RoleStranger)
	first, second := testHost(t, "first", nil), testHost(t, "second", nil)
	meet(t, first, server)
	meet(t, second, server)
	if _, err := echo(t, first, server.Self(), "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := echo(t, second, server.Self(), "hello"); err == nil {
		t.Error("a second stranger was let in")
	}
	second.SetRoles(func(identity.Address) Role { return RoleMember })
	server.SetRoles(func(a identity.Address) Role {
		if a == second.Self() {
			return RoleMember
		}
		return RoleStranger
	})
	if _, err := echo(t, second, server.Self(), "hello"); err != nil {
		t.Errorf("a member was not let in: %v", err)
	}
}

func TestIntroduce(t *testing.T) {
	center, a, b := testHost(t, "center", nil), testHost(t, "a", nil), testHost(t, "b", nil)
	stranger := testHost(t, "stranger", nil)
	center.SetRoles(func(x identity.Address) Role {
		if x == stranger.Self() {
			return RoleStranger
		}
		return RoleMember
	})
	center.servePeers()
	ctx := soon(t)
	for _, h := range []*Host{a, stranger, b} {
		meet(t, h, center)
		if err := h.Introduce(ctx, center.Self()); err != nil {
			t.Fatal(err)
		}
	}
	serveEcho(a, RoleStranger)
	if got, err := echo(t, b, a.Self(), "hello"); err != nil || got != "hello" {
		t.Errorf("b does not reach a: %v", err)
	}
	if _, known := b.book.Find(stranger.Self()); known {
		t.Error("a stranger's place was passed on")
	}
	if err := a.learn(Contact{b.Self(), center.Contact().At}); err == nil {
		t.Error("took a contact that names another peer")
	}
}

// shelf is a library of one file.
type shelf struct {
	name digest.Sum
	path string
}

func (s shelf) Path(name digest.Sum) (string, bool) { return s.path, name == s.name }

func TestFetch(t *testing.T) {
	dir := t.TempDir()
	b := bytes.Repeat([]byte("allmend"), 300_000)
	name := digest.Of(b)
	write := func(file string, b []byte) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := bytes.Clone(b)
	flipped[len(b)/2] ^= 1
	empty, liar, short, good := testHost(t, "empty", nil), testHost(t, "liar", nil), testHost(t, "short", nil), testHost(t, "good", nil)
	empty.serveObjects(shelf{})
	liar.serveObjects(shelf{name, write("flipped", flipped)})
	short.serveObjects(shelf{name, write("short", b[:len(b)-1])})
	good.serveObjects(shelf{name, write("good", b)})
	client := testHost(t, "client", nil)
	var all []identity.Address
	for _, h := range []*Host{empty, liar, short, good} {
		meet(t, client, h)
		all = append(all, h.Self())
	}
	path := filepath.Join(dir, "got")
	size := int64(len(b))
	ctx := soon(t)
	for i, want := range []string{"the peer does not have it", "its SHA-256 is", "bytes"} {
		err := client.Fetch(ctx, name, path, all[i:i+1], CheckSHA256(name), size, size, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("peer %d: got %v, want %q", i, err, want)
		}
	}
	moved := 0
	if err := client.Fetch(ctx, name, path, all, CheckSHA256(name), size, size, func(n int) { moved += n }); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if moved < len(b) {
		t.Errorf("told of %d bytes", moved)
	}
	if err := client.Fetch(ctx, name, path, all, CheckSHA256(name), 0, size-1, nil); err == nil {
		t.Error("took more than the limit")
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"+unfinished+"*"))
	if len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := LockDir(dir); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("second lock: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

func TestCheckVectorIsBlockRoot(t *testing.T) {
	for _, n := range []int{0, 1, digest.BlockSize - 1, digest.BlockSize, digest.BlockSize + 1, 3*digest.BlockSize + 7} {
		b := bytes.Repeat([]byte{7}, n)
		if err := CheckVector(digest.BlockRoot(b))(bytes.NewReader(b)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err := CheckVector(digest.Of([]byte("another")))(bytes.NewReader(b)); err == nil {
			t.Errorf("%d bytes: accepted another root", n)
		}
	}
}

func FuzzParseFollowed(f *testing.F) {
	f.Add([]byte(`r{"index":0}`))
	f.Add([]byte(`s{"leader":"0x0000000000000000000000000000000000000000","size":3}`))
	f.Add([]byte(`h{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFollowed(b)
		if err == nil && got.Record == nil && got.Head == nil && got.Status == nil {
			t.Error("nothing was read without an error")
		}
	})
}

func FuzzParseContact(f *testing.F) {
	id, err := PeerID(testrun.Key("a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/ip4/127.0.0.1/tcp/4001/p2p/" + id.String())
	f.Add("/dns4/example.org/tcp/4001/p2p/12D3KooWGzBhf3r1NCVYVJrsd1RMtNqqzCpAq3xW9cGsFEVmtQqR")
	f.Fuzz(func(t *testing.T, text string) {
		address, info, err := ParseContact(text)
		if err != nil {
			return
		}
		if got, err := AddressOf(info.ID); err != nil || got != address {
			t.Errorf("%q: %v, %v, want %v", text, got, err, address)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFrame(bytes.NewReader(b), 64)
		if err == nil && len(got) > 64 {
			t.Errorf("frame of %d bytes", len(got))
		}
	})
}

// TestPortIsTaken demands a clear error for each address at which another
// process listens, also when there is a free one beside it.
func TestPortIsTaken(t *testing.T) {
	first := testHost(t, "first", nil)
	at := first.libp2p.Network().ListenAddresses()[0]
	port, err := at.ValueForProtocol(multiaddr.P_TCP)
	if err != nil {
		t.Fatal(err)
	}
	for name, listen := range map[string][]string{
		"alone":         {at.String()},
		"beside others": {"/ip4/127.0.0.1/tcp/0", at.String()},
	} {
		h, err := OpenHost(HostConfig{
			Key: testrun.Key("second"), Run: testRun, Software: "allmend/test", Listen: listen, Logger: slog.New(slog.DiscardHandler),
		})
		if err == nil {
			t.Errorf("%s: a second process listens on port %s, too", name, port)
			h.Close()
		} else if !strings.Contains(err.Error(), "/tcp/"+port) || !strings.Contains(err.Error(), "--listen") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
