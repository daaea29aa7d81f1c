package chat

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"runtime/debug"
	"slices"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
)

// source is the origin of a call, as hooks see it.
func (s *Caller) source() hook.Source {
	return hook.Source{Addr: s.Addr, Platform: s.Platform, Operator: s.Operator}
}

// admin is the account that made the call, which differs from the user's if an operator acts for them.
func (s *Caller) admin() string {
	if s.Operator {
		return s.Admin
	}
	return s.Name
}

// hookable reports whether there is a before-hook for messages to groups, or to people.
func (cfg *Config) hookable(toGroup bool) bool {
	if toGroup {
		return cfg.Hooks.GroupBeforeSendMsg != nil
	}
	return cfg.Hooks.C2CBeforeSendMsg != nil
}

// hooked reports whether the before-hook is to be asked about a message.
func (m *send) hooked() bool { return !m.noHook && m.c.cfg.hookable(m.toGroup) }

// pass takes a message through the before-hook, if there is one, and on. It runs on the goroutine of a parked conversation.
func (c *Chat) pass(ctx context.Context, m *send) {
	s := m.call.Caller
	if !m.hooked() {
		c.append(ctx, m)
		return
	}
	live := m.group != nil && m.group.typ.live
	switch {
	case live && c.live.repeated(m): // the hook was asked about the first one
		return
	case m.call.Resent && !live: // the hook was asked about it, if it is stored
		_, err := c.store.Lookup(ctx, SendKey{Conv: m.conv.id, Sender: s.UID, ClientTime: m.clientTime, Random: m.random})
		if err == nil {
			c.append(ctx, m) // and gets the first reply
			return
		}
		if !errors.Is(err, ErrNotFound) {
			m.call.fail(err)
			return
		}
	}
	if err := c.check(ctx, m); err != nil { // the hook is not asked about what goes nowhere
		m.refuse(err)
		return
	}
	if m.files { // all of which must be there now
		if _, err := c.attachFiles(ctx, m.body, false); err != nil {
			m.fail(err)
			return
		}
	}
	done, err := c.asking(ctx, s)
	if err != nil {
		m.call.fail(err)
		return
	}
	v := c.askSend(ctx, m)
	done()
	if v.Err != nil {
		m.call.fail(v.Err)
		return
	}
	if edit := editOf(v, m.body); edit.Elems != nil || edit.Cloud != nil {
		elems, cloud, rest := split(m.body)
		newElems, newCloud := edit.wire()
		if edit.Elems != nil {
			elems = newElems
		}
		if edit.Cloud != nil {
			cloud = newCloud
		}
		body := bytes.Join([][]byte{elems, cloud, rest}, nil)
		edited, err := checkMessage(body, im.Platform_PLATFORM_OTHER)
		if err == nil && edited.files {
			_, err = c.attachFiles(ctx, body, false)
		}
		if err != nil {
			c.log.Warn("the webhook's rewritten message cannot be sent; the original is", "from", s.Name, "to", m.target(), "err", err)
		} else {
			m.body, m.files = body, edited.files
		}
	}
	if v.Drop {
		m.drop()
		return
	}
	c.append(ctx, m)
}

// askSend asks the before-hook about a message.
func (c *Chat) askSend(ctx context.Context, m *send) sendVerdict {
	s, now := m.call.Caller, c.store.Now()
	if m.group == nil {
		// There is no number yet; the client time takes its place, and identifies the message to the admin API as well.
		return c.askC2C(ctx, &m.content, &hook.C2CBeforeSendMsg{
			From_Account: s.Name, To_Account: m.peer.name, MsgSeq: m.clientTime, MsgRandom: m.random, MsgTime: now / 1000,
			MsgKey: restjson.Key(m.clientTime, m.random, now/1000), OnlineOnlyFlag: restjson.Flag(m.online),
		}, s.source())
	}
	b := &hook.GroupBeforeSendMsg{
		GroupId: m.group.name, Type: m.group.typ.name, From_Account: s.Name, Operator_Account: s.admin(), Random: m.random, OnlineOnlyFlag: restjson.Flag(m.online), EventTime: now,
	}
	return c.askGroup(ctx, &m.content, b, s.source())
}

// askGroup asks the before-hook about what is or would be a message to a group.
func (c *Chat) askGroup(ctx context.Context, m *content, b *hook.GroupBeforeSendMsg, from hook.Source) sendVerdict {
	return c.ask(ctx, m, func(msg *im.Message) sendVerdict {
		b.MsgBody, b.CloudCustomData = msg.ElemArray, msg.CloudCustomStr
		v := c.cfg.Hooks.GroupBeforeSendMsg(ctx, b, from)
		return sendVerdict{Err: v.Err, Drop: v.Drop, Answer: hook.C2CBeforeSendMsgAnswer(v.Answer)}
	})
}

// askC2C asks the before-hook about what is or would be a message to a person.
func (c *Chat) askC2C(ctx context.Context, m *content, b *hook.C2CBeforeSendMsg, from hook.Source) sendVerdict {
	return c.ask(ctx, m, func(msg *im.Message) sendVerdict {
		b.MsgBody, b.CloudCustomData = msg.ElemArray, msg.CloudCustomStr
		return c.cfg.Hooks.C2CBeforeSendMsg(ctx, b, from)
	})
}

// sendVerdict is the decision on a message; those to persons and groups have the same.
type sendVerdict = hook.C2CBeforeSendMsgVerdict

// maxTold limits the memory of all messages that the before-hook is being asked about, decoded and in JSON.
const maxTold = 64 << 20

// ask asks the before-hook. The hook itself follows the setting if its program cannot be asked or does not respond; a panic around it refuses the
// message, because nobody has allowed it.
func (c *Chat) ask(ctx context.Context, m *content, do func(*im.Message) sendVerdict) (v sendVerdict) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("panic in a before-hook", "err", fmt.Sprintf("%v\n%s", r, debug.Stack()))
			v = sendVerdict{Err: im.Errorf(im.CodeWebhookFailed, "the app's webhook could not be asked")}
		}
	}()
	told := min(m.told, maxTold)
	if c.told.Acquire(ctx, told) != nil {
		return sendVerdict{Err: errGoing}
	}
	defer c.told.Release(told)
	var msg im.Message
	if err := msg.UnmarshalVT(m.body); err != nil {
		return sendVerdict{Err: err} // it has been checked
	}
	c.FormURLs(&msg)
	v = do(&msg)
	if ctx.Err() != nil { // whatever it returns, it may have been interrupted
		return sendVerdict{Err: errGoing}
	}
	return v
}

// editOf converts a before-hook's rewrite of a message. Elements that the program sends back as it got them are those of the message, with what the hook's JSON does
// not have; if all of them are, they stay.
func editOf(v sendVerdict, body []byte) Edit {
	out := Edit{Elems: v.Answer.MsgBody, Cloud: v.Answer.CloudCustomData}
	var msg im.Message
	if out.Elems == nil || msg.UnmarshalVT(body) != nil {
		return out
	}
	text := func(e *im.Elem) string {
		b, _ := restjson.Marshal(restjson.Elems{e}) // without one, it is like no other
		return string(b)
	}
	shown := make(map[string]*im.Elem)
	for _, e := range msg.ElemArray {
		shown[text(e)] = e
	}
	for i, e := range out.Elems {
		if was := shown[text(e)]; was != nil {
			out.Elems[i] = was
		}
	}
	if slices.Equal(out.Elems, msg.ElemArray) {
		out.Elems = nil
	}
	return out
}

// asSent reports whether an entry contains what its sender sent: no hook has rewritten it, and nobody has modified it.
func asSent(st *Stored) bool {
	body := st.Body
	if st.Version > 0 {
		return false
	}
	if crc64.Checksum(body, hashTable) == st.Hash {
		return true
	}
	// The hash covers the fields before the platform, which takes two bytes at the end.
	n := len(body) - 2
	return n >= 0 && body[n] == platformField<<3 && crc64.Checksum(body[:n], hashTable) == st.Hash
}

// LogMessage is a message of the log with the names in it. One to a group has the group and its type, and no To. By is the account that has sent it: an admin's, or
// that in From.
type LogMessage struct {
	Pos             int64
	From, To, By    string
	Group, TypeName string
	Stored          Stored
}

// Log returns messages that come after a position in the log, and the position up to which they reach.
func (c *Chat) Log(ctx context.Context, after int64, limit int) (out []LogMessage, upTo int64, err error) {
	rows, err := c.store.Log(ctx, after, limit)
	if err != nil {
		return nil, after, err
	}
	upTo = after
	for _, row := range rows {
		upTo = row.Pos
		cv, err := c.store.Conv(ctx, row.Conv)
		if err != nil {
			return nil, after, err
		}
		if row.Sender == 0 {
			continue // a tip
		}
		m := LogMessage{Pos: row.Pos, Stored: row.Stored}
		if m.From, err = c.nameOf(ctx, row.Sender); err != nil {
			return nil, after, err
		}
		m.By = cmp.Or(row.Admin, m.From)
		if cv.Kind == KindGroup {
			m.Group, m.TypeName = cv.Group, restjson.GroupType(cv.Type)
			out = append(out, m)
			continue
		}
		to := cv.A
		if to == row.Sender {
			to = cv.B
		}
		if m.To, err = c.nameOf(ctx, to); err != nil {
			return nil, after, err
		}
		out = append(out, m)
	}
	return out, upTo, nil
}

// StartCursor lets a new named reader of the log begin at the end.
func (c *Chat) StartCursor(ctx context.Context, name string) error {
	_, err := c.store.Cursor(ctx, name)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	pos, err := c.store.LogEnd(ctx)
	if err != nil {
		return err
	}
	return c.store.StartCursor(ctx, name, pos)
}

// Cursor returns the position of a reader of the log.
func (c *Chat) Cursor(ctx context.Context, name string) (int64, error) {
	return c.store.Cursor(ctx, name)
}

// SetCursor keeps the position of a reader of the log; it returns ErrLease if another server has taken over.
func (c *Chat) SetCursor(ctx context.Context, name string, pos, lease int64) error {
	return c.store.SetCursor(ctx, name, pos, lease)
}

// StoreID returns the name of the store.
func (c *Chat) StoreID() string { return c.store.ID() }

// Unread returns the sum of a user's unread messages from people.
func (c *Chat) Unread(ctx context.Context, name string) (uint64, error) {
	p, err := c.person(ctx, name)
	if err != nil {
		return 0, err
	}
	var sum uint64
	for after, more := ConvID(0), true; more; {
		var rows []HeadRow
		if rows, more, err = c.store.Heads(ctx, p.uid, 0, after, maxHeads); err != nil {
			return 0, err
		}
		for i := range rows {
			if rows[i].Conv.Kind == KindC2C {
				sum += headOf(p.uid, "", &rows[i]).Unread
			}
			after = rows[i].Conv.ID
		}
	}
	return sum, nil
}
