package chat

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
)

// modifyInTurn takes a modification through the before-hook and on. Those of a caller in one conversation are made in the order of the calls; the
// caller's other calls do not wait for them.
func (c *Chat) modifyInTurn(ctx context.Context, m *modification) error {
	s := m.call.Caller
	s.mu.Lock()
	queue, waiting := s.modifying[m.cv.ID]
	if !waiting && !m.hooked {
		s.mu.Unlock()
		return c.modify(ctx, m, m.call.Reply)
	}
	if err := c.slots.enter(s.UID, m.size()); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.modifying == nil {
		s.modifying = make(map[ConvID][]*modification)
	}
	s.modifying[m.cv.ID] = append(queue, m)
	s.mu.Unlock()
	if !waiting {
		c.lookups.Go(func() { c.modifyQueued(ctx, s, m.cv.ID) })
	}
	return nil
}

// size is how much a waiting modification takes of the memory for that.
func (m *modification) size() int { return len(m.elems) + len(m.cloud) + slotCost }

// modifyQueued makes the modifications that wait, and those that arrive in the meantime.
func (c *Chat) modifyQueued(ctx context.Context, s *Caller, id ConvID) {
	for {
		s.mu.Lock()
		queue := s.modifying[id]
		if len(queue) == 0 {
			delete(s.modifying, id)
			s.mu.Unlock()
			return
		}
		m := queue[0]
		s.modifying[id] = queue[1:]
		s.mu.Unlock()
		size := m.size() // the hook may put another content into it
		if err := c.passModify(ctx, m); err != nil {
			m.call.fail(err)
		}
		c.slots.leave(s.UID, size)
	}
}

// passModify asks the before-hook about what a message would become, and makes it that. The hook is not asked about a modification that is not made:
// of a message that does not exist, of another version than the call names, one that was made before, or one that is dropped or refused. If the message has changed when the response
// arrives, it is a conflict.
func (c *Chat) passModify(ctx context.Context, m *modification) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a modification: %v\n%s", r, debug.Stack())
		}
	}()
	if !m.hooked {
		return c.modify(ctx, m, m.call.Reply)
	}
	s := m.call.Caller
	found, err := c.store.Entries(ctx, m.cv.ID, m.seq, m.seq, false, 1, maxBytes)
	if err != nil {
		return err
	}
	if len(found) == 0 || m.seq == 0 {
		return c.modify(ctx, m, m.call.Reply)
	}
	st := &found[0]
	cv, err := c.store.Conv(ctx, m.cv.ID)
	if err != nil {
		return err
	}
	next, err := m.apply(st.Body)
	may, failed := c.mayModify(ctx, m, &cv, st)
	if failed != nil {
		return failed
	}
	if err != nil || !may || st.Version != *m.version || st.Version >= c.cfg.Modifications || st.Status == int32(im.MessageStatus_MESSAGE_STATUS_REVOKED) {
		return c.modify(ctx, m, m.call.Reply)
	}
	done, err := c.asking(ctx, s)
	if err != nil {
		return err
	}
	v := c.askModify(ctx, m, &cv, st, &next)
	done()
	switch {
	case v.Err != nil:
		return v.Err
	case v.Drop:
		r, err := m.pretend(st, next.body, c.store.Now())
		if err != nil {
			return err
		}
		m.call.Reply(r)
		return nil
	}
	if edit := editOf(v, next.body); edit.Elems != nil || edit.Cloud != nil {
		edited := *m
		elems, cloud := edit.wire()
		if edit.Elems != nil {
			edited.elems = elems
		}
		if edit.Cloud != nil {
			edited.cloud = cloud
		}
		if _, err := edited.apply(st.Body); err != nil {
			c.log.Warn("the webhook's new content of a message cannot be stored; the original is", "from", m.by.name, "to", m.circle.calledBy(m.by.uid), "err", err)
		} else {
			m.elems, m.cloud = edited.elems, edited.cloud
		}
	}
	m.asked = &st.Version
	return c.modify(ctx, m, m.call.Reply)
}

// askModify asks the before-hook about what a message would become.
func (c *Chat) askModify(ctx context.Context, m *modification, cv *Conv, st *Stored, next *content) sendVerdict {
	from, sender := m.call.Caller.source(), m.senderName(st.Sender)
	if cv.Kind == KindGroup {
		return c.askGroup(ctx, next, &hook.GroupBeforeSendMsg{
			GroupId: cv.Group, Type: restjson.GroupType(cv.Type), From_Account: m.by.name, Operator_Account: m.call.Caller.admin(), Random: st.Random, EventTime: c.store.Now(),
			MsgSeq: &st.Seq, ModifyFlag: new(restjson.Flag(true)), MsgFrom_Account: &sender,
		}, from)
	}
	return c.askC2C(ctx, next, &hook.C2CBeforeSendMsg{
		From_Account: m.by.name, To_Account: m.circle.calledBy(m.by.uid), MsgSeq: st.Seq, MsgRandom: st.Random, MsgTime: st.Time / 1000,
		MsgKey: restjson.Key(st.Seq, st.Random, st.Time/1000), ModifyFlag: new(restjson.Flag(true)), MsgFrom_Account: &sender,
	}, from)
}

// senderName is the name of the sender of the message: in a group only its sender modifies it.
func (m *modification) senderName(uid UID) string {
	if uid == m.by.uid {
		return m.by.name
	}
	return m.circle.nameOf(uid)
}

// mayModify reports whether the conversation lets the caller modify a message now. It is asked again where it is done.
func (c *Chat) mayModify(ctx context.Context, m *modification, cv *Conv, st *Stored) (bool, error) {
	if cv.Kind != KindGroup {
		return m.check(c, cv) == nil, nil
	}
	if st.Sender != m.by.uid {
		return false, nil
	}
	rows, err := c.store.MembersOf(ctx, cv.ID, []UID{m.by.uid})
	var is Standing
	if len(rows) == 1 {
		is = rows[0].standing()
	}
	return checkGroupSend(cv, is, c.store.Now()) == nil, err
}
