package webhook_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestAdminOfMessages: the notification of a message to a group names the admin who has sent it for a user, also if the server has restarted since; that of a message to
// a person has no such field. Clients get nothing of it.
func TestAdminOfMessages(t *testing.T) {
	for _, db := range []string{"sqlite", "postgres"} {
		t.Run(db, func(t *testing.T) {
			r := listen(t)
			options := []imtest.Option{imtest.Webhook(r.URL, ""), quick}
			if db == "postgres" {
				options = append(options, imtest.Postgres(pgtest.DSN(t)))
			}
			s := imtest.Start(t, options...)
			ann, bob := connect(t, s, "ann"), connect(t, s, "bob")
			ann.found("g1", im.GroupType_GROUP_TYPE_PUBLIC, "bob")
			operate := func(from string, random int) {
				s.Operate("group_open_http_svc/send_group_msg",
					fmt.Sprintf(`{"GroupId":"g1","Random":%d,"From_Account":"%s","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"%d"}}]}`, random, from, random))
			}
			told := func(text, from, by string) {
				t.Helper()
				e := r.next(afterGroup)
				if want := fmt.Sprintf(`"From_Account":"%s","Operator_Account":"%s"`, from, by); e.text() != text || !strings.Contains(e.body, want) {
					t.Errorf("the notification is %s, want %s by %s for %s", e.body, text, by, from)
				}
			}
			operate("bob", 1)
			told("1", "bob", "administrator")
			bob.call(im.Method_SEND, toGroup("g1", 2, "2"), &im.SendReply{})
			told("2", "bob", "bob")
			operate("ann", 3)
			told("3", "ann", "administrator")

			s.Operate("openim/sendmsg", `{"From_Account":"bob","To_Account":"ann","MsgRandom":4,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"4"}}]}`)
			if e := r.next(afterSend); e.text() != "4" || strings.Contains(e.body, "Operator_Account") || strings.Contains(e.body, "administrator") {
				t.Errorf("the notification of a message to a person is %s", e.body)
			}

			// A message that is sent while there is no webhook is told by a later server.
			s.Restart(imtest.Webhook("", ""))
			operate("bob", 5)
			s.Restart(options...)
			told("5", "bob", "administrator")

			ann = connect(t, s, "ann")
			key := &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g1"}
			var heads im.HeadsReply
			ann.call(im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{key}}, &heads)
			var log im.PullReply
			ann.call(im.Method_PULL, &im.PullRequest{Conv: key, Epoch: heads.Heads[0].Epoch, From: 1, To: 5}, &log)
			if len(log.Entries) != 5 {
				t.Fatalf("the log has %d entries", len(log.Entries))
			}
			for _, reply := range []im.Msg{&heads, &log} {
				b, err := reply.MarshalVT()
				if err != nil || bytes.Contains(b, []byte("administrator")) {
					t.Errorf("a client gets %q, %v", b, err)
				}
			}
		})
	}
}
