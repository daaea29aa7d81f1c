package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/store"
)

// TestFullDiskIsSaid: with no space on the disk a sender gets a code and a reason, history and connected clients continue to work, and once there is
// space the next message is stored.
func TestFullDiskIsSaid(t *testing.T) {
	s := start(t, t.TempDir())
	defer stop(t, s)
	alice := dial(t, s, "alice", client.Events{})
	defer alice.Close()
	bob := dial(t, s, "bob", client.Events{})
	defer bob.Close()
	send := func(text string) error {
		_, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text(text))
		return err
	}
	if err := send("first"); err != nil {
		t.Fatal(err)
	}
	if err := s.store.(*store.Store).SetMaxPages(1); err != nil { // as many as exist
		t.Fatal(err)
	}
	stored, long := uint32(1), strings.Repeat("x", 5000)
	var err error
	for err = send(long); err == nil && stored < 10_000; err = send(long) {
		stored++
	}
	if im.CodeOf(err) != im.CodeServerInternal || !strings.Contains(err.Error(), "disk is full") {
		t.Fatal("a full disk:", err)
	}
	if code, body := get(t, s, "/metrics"); code != http.StatusOK || !strings.Contains(body, "tidings_store_full 1") {
		t.Error("the metric does not say so")
	}
	ms, err := bob.Messages(t.Context(), client.C2C("alice"), &im.GetMsgListParam{Count: stored + 10})
	if err != nil || uint32(len(ms)) != stored {
		t.Errorf("%d messages of %d, %v", len(ms), stored, err)
	}
	if err := s.store.(*store.Store).SetMaxPages(0); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if err = send("there is room"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if code, body := get(t, s, "/metrics"); code != http.StatusOK || !strings.Contains(body, "tidings_store_full 0") {
		t.Error("the metric does not say that there is room")
	}
}
