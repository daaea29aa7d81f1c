package webhook

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
)

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

// TestAddressAsWritten: requests go to the address exactly as it is written, with the server's own parameters after its query; and no error contains
// its query or its password.
func TestAddressAsWritten(t *testing.T) {
	asked := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		fmt.Fprint(w, `{"ErrorCode":0}`)
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	const own = "b=2&a=x+y%20z&flag&token=hunter2&b=1"
	var log strings.Builder
	cfg := Config{URL: "http://u:hunter2@" + host + "/p%2Fq/?" + own, AppID: 7, Token: "t", Log: slog.New(slog.NewTextHandler(&log, nil))}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		b := &hook.C2CBeforeSendMsg{From_Account: "a", To_Account: "b", MsgBody: im.Text("x").ElemArray}
		return h.Set().C2CBeforeSendMsg(t.Context(), b, hook.Source{}).Err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	r := <-asked
	user, password, _ := r.BasicAuth()
	if rest, ok := strings.CutPrefix(r.URL.RawQuery, own+"&"); !ok || !strings.Contains(rest, "SdkAppid=7") || r.URL.EscapedPath() != "/p%2Fq/" || user != "u" || password != "hunter2" {
		t.Errorf("asked %s as %s:%s", r.URL, user, password)
	}
	h.Close()
	s.Close()
	ask()
	if !strings.Contains(log.String(), "did not answer") || strings.Contains(log.String(), "hunter2") || strings.Contains(log.String(), "Sign=") {
		t.Errorf("the log of a hook that is away: %s", log.String())
	}
}
