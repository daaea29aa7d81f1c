// Package usersig signs and verifies UserSig tickets of version 2. A ticket proves, with an app's secret key, that somebody may log in as a user
// until a certain time.
//
// A ticket is a small JSON object, compressed with zlib and written in base64 with three letters exchanged. Its signature is an HMAC-SHA256 of a text
// made of its fields. Libraries differ in compression and in the order of keys, so two tickets for the same inputs may differ as strings: only
// [Verify] can tell whether a ticket is good.
package usersig

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Error is the reason why a ticket was refused. Code is TIM's code for it; Desc is for people and reveals nothing about the key or the content of the
// ticket.
type Error struct {
	Code int32
	Desc string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Desc, e.Code) }

// The reasons that [Verify] returns, to be compared with errors.Is.
var (
	ErrExpired   = &Error{70001, "usersig has expired"}
	ErrEmpty     = &Error{70002, "usersig is empty"}
	ErrMalformed = &Error{70003, "usersig is malformed"}
	ErrMismatch  = &Error{70009, "usersig was not signed with the key of this app"}
	ErrOtherUser = &Error{70013, "usersig is of another user"}
	ErrOtherApp  = &Error{70014, "usersig is of another app"}
	ErrNoKey     = &Error{70016, "the app has no key"}
)

const (
	version = "2.0"

	// A real ticket has less than 1 KB. The limits are checked before the signature can be, so they keep a stranger from making the verifier allocate
	// memory.
	maxTicket = 8 << 10
	maxJSON   = 4 << 10

	// Beyond this, a time.Time wraps around.
	maxUnix = 1 << 62
)

// Ticket is the content of a verified ticket.
type Ticket struct {
	AppID   uint64
	UserID  string
	Issued  time.Time
	Expires time.Time // the last second in which the ticket is good

	// UserBuf is the extra data of call-room tickets, nil in all others. The signature covers it, but messaging does not interpret it: programs that
	// use it must check it.
	UserBuf []byte
}

// fields is the JSON of a ticket. A UserBuf that is present but empty counts as present.
type fields struct {
	Version string `json:"TLS.ver"`
	UserID  string `json:"TLS.identifier"`
	AppID   uint64 `json:"TLS.sdkappid"`
	Expire  int64  `json:"TLS.expire"`
	Time    int64  `json:"TLS.time"`
	UserBuf []byte `json:"TLS.userbuf,omitempty"`
	Sig     string `json:"TLS.sig"`
}

var (
	escape   = strings.NewReplacer("+", "*", "/", "-", "=", "_")
	unescape = strings.NewReplacer("*", "+", "-", "/", "_", "=")
)

// Sign makes a ticket for userID that is valid from now on for life, which counts in whole seconds. The key is used as text, as the console shows it.
// Sign fails only for inputs that can never make a good ticket: no key, a user id that is empty, is not UTF-8 or contains a line break, a life under
// a second, or a result that is too long to be verified.
func Sign(appID uint64, key, userID string, life time.Duration, now time.Time) (string, error) {
	f := fields{Version: version, UserID: userID, AppID: appID, Expire: int64(life / time.Second), Time: now.Unix()}
	switch {
	case key == "":
		return "", errors.New("usersig: the key is empty")
	case !validUserID(userID):
		return "", fmt.Errorf("usersig: %q cannot be a user id", userID)
	case f.Expire < 1:
		return "", fmt.Errorf("usersig: a life of %v is under a second", life)
	case !f.validTimes():
		return "", fmt.Errorf("usersig: no ticket can be made for the time %v", now)
	}
	f.Sig = f.signature(key)
	plain, err := json.Marshal(&f)
	if err != nil {
		return "", fmt.Errorf("usersig: %w", err)
	}
	if len(plain) > maxJSON {
		return "", errors.New("usersig: the user id is too long")
	}
	return pack(plain), nil
}

// Verify checks that ticket lets userID log in to the app at the time now.
//
// The error is one of the Err values of this package; the first of these rules that fails decides:
//
//  1. the app has a key: ErrNoKey
//  2. there is a ticket: ErrEmpty
//  3. it decodes, within limits, to version 2.0 with sane times: ErrMalformed
//  4. its app is appID: ErrOtherApp
//  5. its user is userID: ErrOtherUser
//  6. its signature, compared in constant time, was made with key: ErrMismatch
//  7. now is not after its time plus its life: ErrExpired
//
// The signature is computed before any field is judged, so the time that rules 4 to 6 take reveals nothing. Rules 4 and 5 come before it because they
// compare only what the caller provided: they help developers who mixed up two apps or users, and teach a forger nothing. Expiry comes after it: only
// a ticket that was once good can be expired.
//
// A ticket from the future is accepted: the issuer's clock may be ahead of this one, and anyone who has the key could have signed a longer life
// anyway. Expiry is exact; the last second still passes.
func Verify(appID uint64, key, userID, ticket string, now time.Time) (Ticket, error) {
	if key == "" {
		return Ticket{}, ErrNoKey // anybody can make an HMAC with an empty key
	}
	if ticket == "" {
		return Ticket{}, ErrEmpty
	}
	f, ok := decode(ticket)
	if !ok {
		return Ticket{}, ErrMalformed
	}
	signed := hmac.Equal([]byte(f.Sig), []byte(f.signature(key)))
	switch {
	case f.AppID != appID:
		return Ticket{}, ErrOtherApp
	case f.UserID != userID || !validUserID(userID):
		return Ticket{}, ErrOtherUser
	case !signed:
		return Ticket{}, ErrMismatch
	case now.Unix() > f.Time+f.Expire:
		return Ticket{}, ErrExpired
	}
	return Ticket{
		AppID:   f.AppID,
		UserID:  f.UserID,
		Issued:  time.Unix(f.Time, 0),
		Expires: time.Unix(f.Time+f.Expire, 0),
		UserBuf: f.UserBuf,
	}, nil
}

// signature is TLS.sig: the HMAC of the fields in a fixed order, one per line.
func (f *fields) signature(key string) string {
	text := make([]byte, 0, 192)
	text = append(text, "TLS.identifier:"...)
	text = append(text, f.UserID...)
	text = append(text, "\nTLS.sdkappid:"...)
	text = strconv.AppendUint(text, f.AppID, 10)
	text = append(text, "\nTLS.time:"...)
	text = strconv.AppendInt(text, f.Time, 10)
	text = append(text, "\nTLS.expire:"...)
	text = strconv.AppendInt(text, f.Expire, 10)
	text = append(text, '\n')
	if f.UserBuf != nil {
		text = append(text, "TLS.userbuf:"...)
		text = base64.StdEncoding.AppendEncode(text, f.UserBuf)
		text = append(text, '\n')
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(text)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// validTimes checks that Time+Expire and the time.Time made of it do not overflow.
func (f *fields) validTimes() bool {
	return f.Time >= 0 && f.Expire >= 0 && f.Time <= maxUnix && f.Expire <= maxUnix-f.Time
}

// validUserID refuses what would not survive JSON unchanged, and a line break, with which a user id could imitate other lines of the signed text.
func validUserID(id string) bool {
	return id != "" && utf8.ValidString(id) && !strings.Contains(id, "\n")
}

// Compressors are pooled because a new one allocates 800 KB, and decompressors because a new one allocates 40 KB and every REST request verifies a
// ticket.
var (
	deflaters = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}
	inflaters sync.Pool
)

func pack(plain []byte) string {
	var packed bytes.Buffer
	z := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(z)
	z.Reset(&packed)
	z.Write(plain) // writing to memory cannot fail
	z.Close()
	return escape.Replace(base64.StdEncoding.EncodeToString(packed.Bytes()))
}

// decode undoes pack and checks everything that needs no key. It reads at most maxJSON bytes of what a ticket unpacks to.
func decode(ticket string) (*fields, bool) {
	if len(ticket) > maxTicket {
		return nil, false
	}
	packed, err := base64.StdEncoding.DecodeString(unescape.Replace(ticket))
	if err != nil {
		return nil, false
	}
	src := bytes.NewReader(packed)
	z, ok := inflaters.Get().(io.ReadCloser)
	if ok {
		err = z.(zlib.Resetter).Reset(src, nil)
	} else {
		z, err = zlib.NewReader(src)
	}
	if err != nil {
		return nil, false
	}
	defer inflaters.Put(z)
	plain, err := io.ReadAll(io.LimitReader(z, maxJSON+1))
	if err != nil || len(plain) > maxJSON {
		return nil, false
	}
	var f fields
	if json.Unmarshal(plain, &f) != nil || f.Version != version || !f.validTimes() {
		return nil, false
	}
	return &f, true
}
