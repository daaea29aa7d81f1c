package im

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestCheck: the limit itself passes, one more does not, and the error names the field with its path.
func TestCheck(t *testing.T) {
	if err := (&RevokeRequest{Conv: &ConvKey{Id: strings.Repeat("x", 128)}, Seq: math.MaxInt64, Reason: strings.Repeat("é", 512)}).Check(); err != nil {
		t.Error(err)
	}
	if err := (&HeadsRequest{Cursor: 1 << 53, Only: make([]*ConvKey, 100)}).Check(); err != nil {
		t.Error(err)
	}
	opt := int32(5)
	for want, req := range map[string]Request{
		"reason has 1025 bytes":                  &RevokeRequest{Reason: strings.Repeat("x", 1025)},
		"reason is not UTF-8":                    &RevokeRequest{Reason: "\xff"},
		"seq is 9223372036854775808, more than ": &RevokeRequest{Seq: 1 << 63},
		"positions has 10001 items":              &ReadRequest{Positions: make([]*ReadPosition, 10001)},
		"positions[1].conv.id has 129 bytes":     &ReadRequest{Positions: []*ReadPosition{{}, {Conv: &ConvKey{Id: strings.Repeat("x", 129)}}}},
		"keys[0].client_time is ":                &LookupRequest{Keys: []*SendKey{{ClientTime: 1<<40 + 1}}},
		"seqs[2] is ":                            &DeleteRequest{Seqs: []uint64{1, 2, math.MaxUint64}},
		"cursor is -1, and not 0 to ":            &HeadsRequest{Cursor: -1},
		"recv_opt is 5, and not 0 to 4":          &RowRequest{RecvOpt: &opt},
		"generation is ":                         &LoginRequest{Generation: math.MaxUint64 - 1},
		"message has 262":                        &ModifyRequest{Message: &Message{CloudCustomStr: strings.Repeat("x", 262144)}},
	} {
		err := req.Check()
		code := int32(CodeInvalidParameters)
		if strings.HasPrefix(want, "message") {
			code = CodeMessageSize
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, &Error{Code: code}) {
			t.Errorf("%v, and not %q", err, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aé", 2, "a"}, {"a\xffb", 9, "a?b"}, {"\xff\xfe", 9, "?"}, {"\x80\x80\x80", 2, ""}, {"a\xff\xff", 2, "a?"}} {
		if got := Shorten(c.in, c.n); got != c.want || !utf8.ValidString(got) {
			t.Errorf("%q cut to %d is %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
