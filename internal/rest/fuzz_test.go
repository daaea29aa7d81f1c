package rest

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// FuzzBodies calls any command with any body. Each gets the envelope and a code that is not the server's own failure, and what was stored can be
// read.
func FuzzBodies(f *testing.F) {
	n := start(f, chat.Config{})
	for _, user := range []string{"alice", "bob"} {
		n.ok("im_open_login_svc/account_import", `{"UserID":%q}`, user)
	}
	key := n.ok(sendmsg, `{"From_Account":"alice","To_Account":"bob","MsgRandom":1,"MsgBody":%s}`, hello).MsgKey
	commands := slices.DeleteFunc(slices.Sorted(maps.Keys(routes)), func(c string) bool { return c == "im_open_login_svc/kick" }) // which takes up to a second
	seed := func(command, body string) {
		at := slices.Index(commands, command)
		if at < 0 {
			f.Fatalf("there is no %s", command)
		}
		f.Add(byte(at), body)
	}
	seed("im_open_login_svc/account_import", `{"UserID":"carol","Nick":"c"}`)
	seed("im_open_login_svc/multiaccount_import", `{"AccountList":[{"UserID":"dave"},{"UserID":"\u0000"}]}`)
	seed("im_open_login_svc/account_check", `{"CheckItem":[{"UserID":"alice"},{"UserID":"nobody"}]}`)
	seed(sendmsg, `{"SyncOtherMachine":2,"From_Account":"alice","To_Account":"bob","MsgSeq":93847636,"MsgRandom":1287657,"MsgTimeStamp":1557387418,"MsgLifeTime":60,
		"ForbidCallbackControl":["ForbidBeforeSendMsgCallback"],"SendMsgControl":["NoUnread"],"CloudCustomData":"x","OfflinePushInfo":{"PushFlag":0,"Title":"t"},"MsgBody":`+hello+`}`)
	seed(sendmsg, `{"To_Account":"bob","MsgRandom":9,"MsgBody":[{"MsgType":"TIMLocationElem","MsgContent":{"Desc":"d","Latitude":1e308,"Longitude":-1}},
		{"MsgType":"TIMFaceElem","MsgContent":{"Index":1,"Data":"x"}},{"MsgType":"TIMCustomElem","MsgContent":{"Data":"m","Desc":"n","Ext":"u","Sound":"d"}}]}`)
	seed("openim/admin_msgwithdraw", fmt.Sprintf(`{"From_Account":"alice","To_Account":"bob","MsgKey":%q}`, key))
	seed("openim/admin_msgwithdraw", `{"From_Account":"alice","To_Account":"bob","MsgKey":"18446744073709551615_4294967295_4611686018427387903"}`)
	seed(modify, fmt.Sprintf(`{"From_Account":"alice","To_Account":"bob","MsgKey":%q,"CloudCustomData":"y","MsgBody":%s}`, key, hello))
	query := fmt.Sprintf("sdkappid=%d&identifier=%s&usersig=%s", app, DefaultAdmin, sig(f, DefaultAdmin, time.Now()))
	read := int64(0)
	f.Fuzz(func(t *testing.T, which byte, body string) {
		command := commands[int(which)%len(commands)]
		n.t = t
		w := httptest.NewRecorder()
		n.api.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v4/"+command+"?"+query, strings.NewReader(body)))
		a := n.envelope(command, w.Code, w.Header(), w.Body.Bytes())
		if a.ErrorCode == codeServerFails || a.ErrorCode == im.CodeServerInternal {
			t.Fatalf("%s %s: the server failed: %s", command, body, a.ErrorInfo)
		}
		for more := true; more; { // what is new, as a webhook would get it
			list, upTo, err := n.rules.Log(t.Context(), read, 100)
			if err != nil {
				t.Fatal(err)
			}
			read, more = upTo, len(list) > 0
		}
	})
}
