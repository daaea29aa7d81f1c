package webhook

import (
	"context"
	"fmt"
	"sync"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
)

// messages is the log as a source: it costs a message nothing more.
func messages(c *chat.Chat) *source {
	const cursor = "webhook"
	return &source{
		name:   cursor,
		asides: true,
		begin:  func(ctx context.Context) error { return c.StartCursor(ctx, cursor) },
		from:   func(ctx context.Context) (int64, error) { return c.Cursor(ctx, cursor) },
		told:   func(ctx context.Context, upTo, lease int64) error { return c.SetCursor(ctx, cursor, upTo, lease) },
		read: func(ctx context.Context, after int64, limit int) ([]event, int64, error) {
			log, upTo, err := c.Log(ctx, after, limit)
			if err != nil {
				return nil, after, err
			}
			counts := &unread{chat: c}
			list := make([]event, len(log))
			for i := range log {
				list[i] = messageEvent(c, &log[i], counts)
			}
			return list, upTo, nil
		},
	}
}

func messageEvent(c *chat.Chat, m *chat.LogMessage, counts *unread) event {
	if m.Group != "" {
		return groupMessageEvent(c, m)
	}
	st := &m.Stored
	key := restjson.Key(st.Seq, st.Random, st.Time/1000)
	b := &hook.C2CAfterSendMsg{
		From_Account: m.From, To_Account: m.To, MsgSeq: st.Seq, MsgRandom: st.Random, MsgTime: st.Time / 1000, MsgKey: key, ErrorInfo: "send msg succeed",
	}
	return event{
		pos: m.Pos, id: fmt.Sprintf("%s-%d", c.StoreID(), m.Pos), lane: int64(st.Conv), command: b.Hook(), about: []any{"from", m.From, "to", m.To, "key", key},
		make: func() (*request, error) {
			return messageRequest(c, st.Body, b, func(msg *im.Message) { b.MsgBody, b.CloudCustomData = msg.ElemArray, msg.CloudCustomStr })
		},
		update: func(ctx context.Context, again bool) (err error) {
			b.UnreadMsgNum, err = counts.of(ctx, m.To, again)
			return err
		},
	}
}

// messageRequest makes the request about a stored message; nil if its sender does not want one. put puts what it says into the body.
func messageRequest(c *chat.Chat, stored []byte, b hook.Body, put func(*im.Message)) (*request, error) {
	var msg im.Message
	if err := msg.UnmarshalVT(stored); err != nil {
		return nil, err
	}
	if msg.DisableCloudMessagePostHook {
		return nil, nil
	}
	c.FormURLs(&msg)
	put(&msg)
	_, err := restjson.Marshal(b)
	return &request{platform: restjson.Platform(im.Platform(msg.Platform)), body: b}, err
}

func groupMessageEvent(c *chat.Chat, m *chat.LogMessage) event {
	st := &m.Stored
	b := &hook.GroupAfterSendMsg{
		GroupId: m.Group, Type: m.TypeName, From_Account: m.From, Operator_Account: m.By, Random: st.Random, MsgSeq: st.Seq, MsgTime: st.Time / 1000, EventTime: st.Time,
	}
	return event{
		pos: m.Pos, id: fmt.Sprintf("%s-%d", c.StoreID(), m.Pos), lane: int64(st.Conv), command: b.Hook(), about: []any{"from", m.From, "group", m.Group, "number", st.Seq},
		make: func() (*request, error) {
			return messageRequest(c, st.Body, b, func(msg *im.Message) {
				b.MsgBody, b.CloudCustomData = msg.ElemArray, msg.CloudCustomStr
				for _, name := range msg.GroupAtUserArray {
					at := hook.GroupAfterSendMsgGroupAtInfo{GroupAt_Account: name}
					if name == chat.MentionAll {
						at = hook.GroupAfterSendMsgGroupAtInfo{GroupAtAllFlag: true}
					}
					b.GroupAtInfo = append(b.GroupAtInfo, at)
				}
			})
		},
	}
}

// unread are the unread messages of receivers. Each is queried once per batch, because it is a sum over all of a receiver's conversations, and again
// when a message is sent again.
type unread struct {
	chat  *chat.Chat
	known sync.Map
}

func (u *unread) of(ctx context.Context, user string, again bool) (int64, error) {
	if n, ok := u.known.Load(user); ok && !again {
		return n.(int64), nil
	}
	n, err := u.chat.Unread(ctx, user)
	if err == nil {
		u.known.Store(user, int64(n))
	}
	return int64(n), err
}
