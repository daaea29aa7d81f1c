package client_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// holding starts a server whose webhook holds a message to a user that it is asked about, so that it stays under way: asked says that it is, until release.
func holding(t *testing.T) (s *imtest.Server, asked <-chan bool, release func()) {
	answer, is := make(chan bool), make(chan bool, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("CallbackCommand") == "C2C.CallbackBeforeSendMsg" {
			is <- true
			<-answer
		}
		w.Write([]byte(`{"ActionStatus":"OK","ErrorCode":0}`))
	}))
	t.Cleanup(backend.Close)
	s = imtest.Start(t, imtest.Webhook(backend.URL, ""), imtest.WebhookDeadline(time.Minute, true))
	release = sync.OnceFunc(func() { close(answer) })
	t.Cleanup(release) // before the server ends, which waits for the webhook
	return s, is, release
}

// TestSendingEvent: before the result of a send, the sending device gets the conversation with the message as it is being sent; after the result, as
// it was sent.
func TestSendingEvent(t *testing.T) {
	s, asked, release := holding(t)
	s.Dial("bob", client.Events{})
	heard := make(chan string, 10)
	alice := s.Dial("alice", client.Events{Conversations: func(_ client.ConvEvent, list []*im.ConvInfo) {
		for _, info := range list {
			heard <- info.LastMsg.GetStatus().String()
		}
	}})
	if _, err := alice.SendMessageFunc(client.C2C("bob"), textMessage("slow"), func(m *im.Message, err error) {
		heard <- "result " + m.GetStatus().String()
	}); err != nil {
		t.Fatal(err)
	}
	<-asked
	want := []string{im.MessageStatus_MESSAGE_STATUS_SENDING.String(), "result " + im.MessageStatus_MESSAGE_STATUS_SENT.String(), im.MessageStatus_MESSAGE_STATUS_SENT.String()}
	for i, w := range want {
		if got := <-heard; got != w {
			t.Errorf("%d: heard %q, want %q", i, got, w)
		}
		if i == 0 {
			release()
		}
	}
}
