package imtest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// The functions for operators do what the admin API does, and the options reach the server.
func TestOperatorAndOptions(t *testing.T) {
	s := imtest.Start(t, imtest.WithLimits(imtest.Limits{SendRate: 1}), imtest.Classes(map[string]string{"linux": "any"}))
	kicked, got := make(chan int, 10), make(chan string, 100)
	ann := s.Dial("ann", client.Events{KickedOffline: func() { kicked <- 1 }})
	s.Dial("ann", client.Events{
		KickedOffline: func() { kicked <- 2 },
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				got <- m.Sender + " " + m.ElemArray[0].GetText().GetContent()
			}
		},
	}) // class any: the first one stays
	if reply := s.Operate("openim/sendmsg", `{"To_Account":"ann","MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"news"}}]}`); !strings.Contains(reply, `"MsgKey"`) {
		t.Errorf("answered %s", reply)
	}
	select {
	case m := <-got:
		if m != imtest.Admin+" news" {
			t.Errorf("ann heard %q", m)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("ann heard nothing")
	}
	fast := error(nil)
	for range 100 {
		if _, err := ann.SendMessage(t.Context(), client.C2C("ann"), im.Text("x")); err != nil {
			fast = err
		}
	}
	if !errors.Is(fast, &im.Error{Code: im.CodeSendsTooFast}) {
		t.Errorf("a hundred messages at once: %v", fast)
	}
	if len(kicked) != 0 {
		t.Fatal("a login of class any ended another")
	}
	s.Kick("ann")
	for range 2 {
		select {
		case <-kicked:
		case <-time.After(30 * time.Second):
			t.Fatal("a session of ann goes on")
		}
	}
}
