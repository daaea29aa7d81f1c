package scenario

import (
	"fmt"
	"testing"
)

func TestJoin(t *testing.T) {
	const a, b, c = `conversation update [{"conv_id":"a","x":1}]`, `conversation update [{"conv_id":"b"}]`, `conversation update [{"conv_id":"a","x":2}]`
	const ab = `conversation update [{"conv_id":"a","x":1},{"conv_id":"b"}]`
	for _, x := range [][2][]string{
		{{a, "total_unread 1", b, "total_unread 0"}, {ab, "total_unread 0"}},
		{{a, b, "total_unread 0"}, {ab, "total_unread 0"}},
		{{a, "total_unread 1", b}, {ab, "total_unread 1"}},
		{{a, "total_unread 1", c, "total_unread 0"}, {a, "total_unread 1", c, "total_unread 0"}},
		{{a, "receipt []", b}, {a, "receipt []", b}},
		{{"total_unread 1", "total_unread 0"}, {"total_unread 1", "total_unread 0"}},
		{{"new_message []", a, "total_unread 1"}, {"new_message []", a, "total_unread 1"}},
	} {
		if got := Join(x[0]); fmt.Sprint(got) != fmt.Sprint(x[1]) {
			t.Errorf("%q is %q, want %q", x[0], got, x[1])
		}
	}
}
