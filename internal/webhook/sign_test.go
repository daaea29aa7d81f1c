package webhook

import "testing"

func TestSign(t *testing.T) {
	if got := sign("xxxxyyyy", "1669872112"); got != "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061" {
		t.Errorf("signed %s", got)
	}
}

func TestBadURL(t *testing.T) {
	for _, bad := range []string{"", "x", "ftp://x/", "http://", "http://[", "127.0.0.1:80"} {
		if _, err := New(Config{URL: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
