package scenario

import (
	"fmt"
	"testing"
)

func TestJoin(t *testing.T) {
	const a, b, c = `conv_update [{"conv_id":"a","x":1}]`, `conv_update [{"conv_id":"b"}]`, `conv_update [{"conv_id":"a","x":2}]`
	const ab = `conv_update [{"conv_id":"a","x":1},{"conv_id":"b"}]`
	for _, x := range [][2][]string{
		{{a, "total 1", b, "total 0"}, {ab, "total 0"}},
		{{a, b, "total 0"}, {ab, "total 0"}},
		{{a, "total 1", b}, {ab, "total 1"}},
		{{a, "total 1", c, "total 0"}, {a, "total 1", c, "total 0"}},
		{{a, "receipt []", b}, {a, "receipt []", b}},
		{{"total 1", "total 0"}, {"total 1", "total 0"}},
		{{"new []", a, "total 1"}, {"new []", a, "total 1"}},
	} {
		if got := Join(x[0]); fmt.Sprint(got) != fmt.Sprint(x[1]) {
			t.Errorf("%q is %q, want %q", x[0], got, x[1])
		}
	}
}
