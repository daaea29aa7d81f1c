package client_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// TestLargeCallbacks: messages that are small on the wire and large in JSON do not share one callback, whether they arrive one by one or with a sync.
func TestLargeCallbacks(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	cfg := config(t, s, "bob")
	var mu sync.Mutex
	var got, largest int
	all := make(chan struct{}, 1)
	const messages = 20
	c, err := client.Open(cfg, client.Events{NewMessages: func(ms []*im.Message) {
		mu.Lock()
		defer mu.Unlock()
		got += len(ms)
		largest = max(largest, len(im.ListToJSON(ms)))
		if got == messages {
			all <- struct{}{}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	inner := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{
		MessageArray: slices.Repeat([]*im.Message{{}}, im.MaxMerged)}}}}}
	m := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{
		CompatibleText: "c", MessageArray: []*im.Message{inner, inner, inner}}}}}}
	for range messages {
		if _, err := alice.SendMessage(within(t), bobs, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-all:
	case <-within(t).Done():
		t.Fatalf("%d messages came", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if one := len(im.ToJSON(m)); largest < one || largest > 4<<20 {
		t.Errorf("a callback has %d bytes, one message %d", largest, one)
	}
}
