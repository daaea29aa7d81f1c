package usersig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// vectors were made by other implementations of the format, so they show what interoperability needs.
type vectors struct {
	Vectors []struct {
		Name    string
		Key     string
		UserID  string `json:"identifier"`
		AppID   uint64 `json:"sdkappid"`
		Expire  int64
		Time    int64
		UserBuf []byte `json:"userbuf_base64"`
		Sig     string `json:"sig_base64"`
		Stored  string `json:"usersig_go"`
		Deflate string `json:"usersig_npm"`
	}
	Cases []struct {
		Vector  string
		At      int64
		AppID   *uint64         `json:"sdkappid"`
		UserID  *string         `json:"identifier"`
		Key     *string         `json:"key"`
		UserBuf json.RawMessage `json:"userbuf"`
		Hex     string          `json:"userbuf_hex"`
		Ticket  *string         `json:"usersig"`
		Expect  string
	} `json:"verify_cases"`
}

func readVectors(tb testing.TB) *vectors {
	tb.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		tb.Fatal(err)
	}
	if len(v.Vectors) == 0 || len(v.Cases) == 0 {
		tb.Fatal("no vectors read")
	}
	return &v
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t).Vectors {
		f := fields{UserID: v.UserID, AppID: v.AppID, Expire: v.Expire, Time: v.Time, UserBuf: v.UserBuf}
		if got := f.signature(v.Key); got != v.Sig {
			t.Errorf("%s: signature %s, want %s", v.Name, got, v.Sig)
		}
		tickets := []string{v.Stored, v.Deflate}
		if v.UserBuf == nil {
			own, err := Sign(v.AppID, v.Key, v.UserID, time.Duration(v.Expire)*time.Second, time.Unix(v.Time, 0))
			if err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
			tickets = append(tickets, own)
		}
		for _, ticket := range tickets {
			if ticket == "" {
				continue // not every library made every vector
			}
			for _, at := range []struct {
				sec  int64
				want error
			}{
				{v.Time, nil},
				{v.Time + v.Expire, nil},
				{v.Time + v.Expire + 1, ErrExpired},
				{v.Time - 1e6, nil},
			} {
				got, err := Verify(v.AppID, v.Key, v.UserID, ticket, time.Unix(at.sec, 0))
				if err != at.want {
					t.Errorf("%s at %d: error %v, want %v", v.Name, at.sec, err, at.want)
				}
				if err == nil && (got.AppID != v.AppID || got.UserID != v.UserID || got.Issued.Unix() != v.Time ||
					got.Expires.Unix() != v.Time+v.Expire || !bytes.Equal(got.UserBuf, v.UserBuf)) {
					t.Errorf("%s: ticket %+v", v.Name, got)
				}
			}
		}
	}
}

func TestVectorCases(t *testing.T) {
	all := readVectors(t)
	for i, c := range all.Cases {
		v := all.Vectors[0]
		for _, o := range all.Vectors {
			if o.Name == c.Vector {
				v = o
			}
		}
		appID, key, userID, ticket, at := v.AppID, v.Key, v.UserID, v.Stored, v.Time
		if c.AppID != nil {
			appID = *c.AppID
		}
		if c.Key != nil {
			key = *c.Key
		}
		if c.UserID != nil {
			userID = *c.UserID
		}
		if c.Ticket != nil {
			ticket = *c.Ticket
		}
		if c.At != 0 {
			at = c.At
		}
		var want error
		switch {
		case strings.HasPrefix(c.Expect, "ok"):
		case c.Expect == "expired":
			want = ErrExpired
		case c.Expect == "sdk appid not match":
			want = ErrOtherApp
		case c.Expect == "identifier not match":
			want = ErrOtherUser
		case c.Expect == "sig not match":
			want = ErrMismatch
		case c.Expect == "error":
			want = ErrEmpty
		case strings.HasPrefix(c.Expect, "error ("):
			want = ErrMalformed
		case strings.HasPrefix(c.Expect, "userbuf"):
			// Comparing the userbuf is left to the caller: Verify accepts it and returns it.
		default:
			t.Fatalf("case %d: unknown expectation %q", i, c.Expect)
		}
		got, err := Verify(appID, key, userID, ticket, time.Unix(at, 0))
		if err != want {
			t.Errorf("case %d (%s): error %v, want %v", i, c.Expect, err, want)
		}
		if strings.HasPrefix(c.Expect, "userbuf") && (got.UserBuf == nil || fmt.Sprintf("%x", got.UserBuf) == c.Hex) {
			t.Errorf("case %d (%s): userbuf %x", i, c.Expect, got.UserBuf)
		}
	}
}

const (
	testApp  = 1400000000
	testKey  = "test-secret-key"
	testUser = "alice"
)

var testNow = time.Unix(1700000000, 0)

// forge packs fields as they are, with a good signature unless they bring their own.
func forge(f fields) string {
	if f.Sig == "" {
		f.Sig = f.signature(testKey)
	}
	plain, err := json.Marshal(&f)
	if err != nil {
		panic(err)
	}
	return pack(plain)
}

func TestVerifyOrder(t *testing.T) {
	good := fields{Version: version, UserID: testUser, AppID: testApp, Expire: 60, Time: testNow.Unix()}
	with := func(change func(*fields)) string { f := good; change(&f); return forge(f) }
	stale := func(f *fields) { f.Time -= 61 }
	for _, c := range []struct {
		name   string
		ticket string
		want   error
	}{
		{"good", forge(good), nil},
		{"empty", "", ErrEmpty},
		{"not base64", "#", ErrMalformed},
		{"not zlib", "AAAA", ErrMalformed},
		{"not JSON", pack([]byte("hello")), ErrMalformed},
		{"JSON of another kind", pack([]byte("[]")), ErrMalformed},
		{"null", pack([]byte("null")), ErrMalformed},
		{"cut short", forge(good)[:40], ErrMalformed},
		{"too long", strings.Repeat("A", maxTicket+1), ErrMalformed},
		{"bomb", pack(bytes.Repeat([]byte(" "), 4<<20)), ErrMalformed},
		{"one over the bound", pack(append(bytes.Repeat([]byte(" "), maxJSON-1), "{}"...)), ErrMalformed},
		{"version 1", with(func(f *fields) { f.Version = "1.0" }), ErrMalformed},
		{"no version", with(func(f *fields) { f.Version = "" }), ErrMalformed},
		{"overflow", with(func(f *fields) { f.Expire = math.MaxInt64 }), ErrMalformed},
		{"overflow of time.Time", with(func(f *fields) { f.Time = maxUnix; f.Expire = 1 }), ErrMalformed},
		{"negative life", with(func(f *fields) { f.Expire = -1 }), ErrMalformed},
		{"negative time", with(func(f *fields) { f.Time = -1 }), ErrMalformed},
		{"longest life", with(func(f *fields) { f.Expire = maxUnix - f.Time }), nil},
		{"other app", with(func(f *fields) { f.AppID++ }), ErrOtherApp},
		{"other user", with(func(f *fields) { f.UserID = "bob" }), ErrOtherUser},
		{"other case", with(func(f *fields) { f.UserID = "Alice" }), ErrOtherUser},
		{"other app and user", with(func(f *fields) { f.AppID++; f.UserID = "bob" }), ErrOtherApp},
		{"other user and key", with(func(f *fields) { f.UserID = "bob"; f.Sig = "x" }), ErrOtherUser},
		{"other key", with(func(f *fields) { f.Sig = f.signature("other") }), ErrMismatch},
		{"no signature", pack([]byte(`{"TLS.ver":"2.0","TLS.identifier":"alice","TLS.sdkappid":1400000000}`)), ErrMismatch},
		{"life stretched", with(func(f *fields) { f.Sig = f.signature(testKey); f.Expire++ }), ErrMismatch},
		{"userbuf added", with(func(f *fields) { f.Sig = f.signature(testKey); f.UserBuf = []byte{5} }), ErrMismatch},
		{"expired", with(stale), ErrExpired},
		{"expired, other key", with(func(f *fields) { stale(f); f.Sig = f.signature("other") }), ErrMismatch},
	} {
		if _, err := Verify(testApp, testKey, testUser, c.ticket, testNow); err != c.want {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}

	if _, err := Verify(testApp, "", testUser, forge(good), testNow); err != ErrNoKey {
		t.Errorf("no key: error %v", err)
	}
	if _, err := Verify(testApp, testKey, "", with(func(f *fields) { f.UserID = "" }), testNow); err != ErrOtherUser {
		t.Errorf("no user: error %v", err)
	}
	// A reader goes back to the pool after every failure, so the next ticket must find it intact.
	if _, err := Verify(testApp, testKey, testUser, forge(good), testNow); err != nil {
		t.Errorf("after the faults: %v", err)
	}
}

// A userbuf that is present but empty is part of the signed text, unlike one that is missing.
func TestEmptyUserBuf(t *testing.T) {
	f := fields{UserID: testUser, AppID: testApp, Expire: 60, Time: testNow.Unix(), UserBuf: []byte{}}
	plain := fmt.Sprintf(`{"TLS.ver":"2.0","TLS.identifier":"alice","TLS.sdkappid":%d,"TLS.expire":60,"TLS.time":%d,`+
		`"TLS.userbuf":"","TLS.sig":%q}`, f.AppID, f.Time, f.signature(testKey))
	got, err := Verify(testApp, testKey, testUser, pack([]byte(plain)), testNow)
	if err != nil || got.UserBuf == nil {
		t.Errorf("ticket %+v, error %v", got, err)
	}
}

func TestSignRefuses(t *testing.T) {
	for _, c := range []struct {
		name, key, user string
		life            time.Duration
		now             time.Time
	}{
		{"no key", "", testUser, time.Hour, testNow},
		{"no user", testKey, "", time.Hour, testNow},
		{"line break", testKey, "a\nb", time.Hour, testNow},
		{"not UTF-8", testKey, "a\xff", time.Hour, testNow},
		{"too long", testKey, strings.Repeat("a", maxJSON), time.Hour, testNow},
		{"no life", testKey, testUser, time.Second - 1, testNow},
		{"before 1970", testKey, testUser, time.Hour, time.Unix(-1, 0)},
	} {
		if ticket, err := Sign(testApp, c.key, c.user, c.life, c.now); err == nil || ticket != "" {
			t.Errorf("%s: signed", c.name)
		}
	}
}

// Verify can decode everything that Sign accepts, however long.
func TestSignLongest(t *testing.T) {
	for n := maxJSON; n > 0; n-- {
		// Control characters take six bytes in JSON and compress badly when they differ.
		id := make([]byte, n)
		for i := range id {
			id[i] = 1 + byte(i*i%8)
		}
		ticket, err := Sign(testApp, testKey, string(id), time.Hour, testNow)
		if err != nil {
			continue
		}
		if _, err := Verify(testApp, testKey, string(id), ticket, testNow); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		return
	}
	t.Error("nothing could be signed")
}

// checkResult checks what is true of every result of Verify, whatever the ticket.
func checkResult(t *testing.T, got Ticket, err error, now time.Time) {
	t.Helper()
	if err == nil {
		if got.AppID != testApp || got.UserID != testUser || now.After(got.Expires) || got.Expires.Before(got.Issued) {
			t.Errorf("accepted %+v at %v", got, now)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Code < 70001 || e.Code > 70016 {
		t.Errorf("error %#v", err)
	}
	if got.UserID != "" || got.AppID != 0 || got.UserBuf != nil || !got.Expires.IsZero() {
		t.Errorf("refused, yet %+v", got)
	}
}

// FuzzVerify gives Verify what may come from the network.
func FuzzVerify(f *testing.F) {
	for _, v := range readVectors(f).Vectors {
		f.Add(v.Stored)
		f.Add(v.Deflate)
	}
	f.Add("abc")
	f.Add(forge(fields{Version: version, UserID: testUser, AppID: testApp, Expire: 60, Time: testNow.Unix()}))
	f.Fuzz(func(t *testing.T, ticket string) {
		got, err := Verify(testApp, testKey, testUser, ticket, testNow)
		checkResult(t, got, err, testNow)
	})
}

// FuzzVerifySigned gets past compression and signature: the fuzzer chooses the fields, and every ticket is signed.
func FuzzVerifySigned(f *testing.F) {
	f.Add(testUser, uint64(testApp), testNow.Unix(), int64(60), []byte(nil), testNow.Unix())
	f.Add("a\nTLS.sdkappid:1", uint64(1), int64(math.MaxInt64), int64(1), []byte{5}, int64(0))
	f.Fuzz(func(t *testing.T, user string, app uint64, at, expire int64, userBuf []byte, now int64) {
		ticket := forge(fields{Version: version, UserID: user, AppID: app, Expire: expire, Time: at, UserBuf: userBuf})
		// Nearer to the limits of int64, time.Time itself overflows, so checkResult could not judge.
		if now < 0 || now > maxUnix {
			return
		}
		got, err := Verify(testApp, testKey, testUser, ticket, time.Unix(now, 0))
		checkResult(t, got, err, time.Unix(now, 0))
		if err == nil && now > at+expire {
			t.Errorf("accepted at %d what ended at %d+%d", now, at, expire)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Sign(testApp, testKey, testUser, time.Hour, testNow); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	ticket, err := Sign(testApp, testKey, testUser, time.Hour, testNow)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(testApp, testKey, testUser, ticket, testNow); err != nil {
			b.Fatal(err)
		}
	}
}
