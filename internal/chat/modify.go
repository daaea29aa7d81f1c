package chat

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

// The fields of im.Message that a modification replaces.
const (
	elemsField protowire.Number = 1
	cloudField protowire.Number = 25
)

// modification is a change of a message's content on its way into the store.
type modification struct {
	cv  Conv
	seq uint64
	// version is the version to be replaced; any if it is not named.
	version *uint64
	// elems and cloud are wire fields of im.Message. Without elems (or cloud, if it stays) the present ones stay.
	elems, cloud []byte
	keepCloud    bool
	resent       bool
	operator     bool
	// hooked means that the before-hook is to be asked; asked is the version of the message that it was asked about.
	hooked bool
	asked  *uint64
	// call is set if a session makes it.
	call Call[*im.ModifyReply]
	// circle are the people of the conversation, by is the one who modifies.
	circle circle
	by     person
}

// Modify replaces the elements and cloud_custom_str of a message. Either person of a conversation may do it, to messages of both.
func (c *Chat) Modify(ctx context.Context, call Call[*im.ModifyReply], req *im.ModifyRequest) error {
	s := call.Caller
	cv, circle, err := c.find(ctx, s, req.Conv)
	if err != nil {
		return err
	}
	if err := c.checkPlace(ctx, s, cv, req.Epoch, req.Seq); err != nil {
		return err
	}
	m := &modification{cv: cv, seq: req.Seq, version: &req.Version, resent: call.Resent, call: call, circle: circle, by: person{s.UID, s.Name}}
	m.elems, m.cloud = contentOf(req.Message)
	m.elems = im.Sendable(m.elems, s.Operator)
	if !c.cfg.hookable(cv.Kind == KindGroup) {
		return c.modify(ctx, m, call.Reply)
	}
	m.hooked = !req.Message.GetDisableCloudMessagePreHook()
	return c.modifyInTurn(ctx, m)
}

// check is what the conversation's rules say about a new content from who modifies: the same as about a message from them. Those of operators are not checked.
func (m *modification) check(c *Chat, cv *Conv) error {
	if m.call.Caller == nil || m.call.Caller.Operator || cv.Kind != KindC2C {
		return nil
	}
	return c.sendRules.Check(cv, m.by.uid, Standing{}, 0)
}

// pretend is the reply to a modification that is dropped: a change without a number, which no device applies.
func (m *modification) pretend(st *Stored, body []byte, now int64) (*im.ModifyReply, error) {
	ch := changeOf(&Change{Kind: int32(im.ChangeKind_CHANGE_MODIFY), Seq: st.Seq, Time: now, Operator: m.by.uid, Target: st}, m.by.name, m.senderName(st.Sender))
	ch.Message = &im.Message{}
	return &im.ModifyReply{Change: ch}, ch.Message.UnmarshalVT(body)
}

// contentOf returns the parts of a message that a modification uses, as wire fields.
func contentOf(m *im.Message) (elems, cloud []byte) {
	return wire(&im.Message{ElemArray: m.GetElemArray()}), wire(&im.Message{CloudCustomStr: m.GetCloudCustomStr()})
}

// modify makes the modification. reply is called before anybody is notified, on the delivery goroutine if something was changed.
func (c *Chat) modify(ctx context.Context, m *modification, reply func(*im.ModifyReply)) error {
	var current *Stored
	before := false
	err := c.store.Update(ctx, []Key{{Conv: m.cv.ID}}, func(tx Tx) error {
		current, before = nil, false
		group := m.circle.group != "" && m.call.Caller != nil && !m.call.Caller.Operator
		var refused error
		if group {
			refused = maySendNow(tx, m.cv.ID, m.by.uid)
		}
		st, err := tx.Entry(m.cv.ID, m.seq)
		mine := err == nil && st.Sender == m.by.uid
		switch {
		case refused != nil && !mine:
			return refused
		case err == nil && group && !mine:
			return im.Errorf(im.CodeNotMember, "in a group, only its sender may modify a message")
		case errors.Is(err, ErrNotFound):
			return im.Errorf(im.CodeNoSuchMessage, "there is no message %d", m.seq)
		case err != nil:
			return err
		}
		changed, err := m.apply(st.Body)
		body := changed.body
		before = err == nil && m.resent && m.version != nil && st.Version == *m.version+1 && bytes.Equal(body, st.Body)
		switch {
		case before: // also for a message that was recalled since, and for somebody who has left since
			current = &st
			return nil
		case refused != nil:
			return refused
		case st.Status == int32(im.MessageStatus_MESSAGE_STATUS_REVOKED):
			return im.Errorf(im.CodeNoSuchMessage, "message %d was recalled", m.seq)
		case err != nil:
			return err
		case m.version != nil && st.Version != *m.version:
			current = &st
			return nil
		}
		cv, err := tx.Conv(m.cv.ID)
		if err != nil {
			return err
		}
		switch err := m.check(c, &cv); {
		case errors.Is(err, ErrDropped):
			r, err := m.pretend(&st, body, tx.Now())
			if err != nil {
				return err
			}
			tx.AfterCommit(func() { reply(r) })
			return tx.SetEntry(st) // as it is: a commit takes the time of one
		case err != nil:
			return err
		case m.hooked && (m.asked == nil || *m.asked != st.Version):
			current = &st
			return nil
		case st.Version >= c.cfg.Modifications:
			return im.Errorf(im.CodeTooManyModifications, "message %d was modified %d times already", m.seq, st.Version)
		}
		st.Body = body
		st.Version++
		if err := tx.SetEntry(st); err != nil {
			return err
		}
		row, err := tx.AddChange(m.cv.ID, Change{
			Kind: int32(im.ChangeKind_CHANGE_MODIFY), Seq: st.Seq, Time: tx.Now(), Operator: m.by.uid, Version: st.Version,
		})
		if err != nil {
			return err
		}
		row.Target = &st
		sender, err := m.circle.senderName(tx, st.Sender)
		if err != nil {
			return err
		}
		ch := changeOf(&row, m.by.name, sender)
		told, err := m.circle.changed(tx, &st, ch)
		if err != nil {
			return err
		}
		if len(body) > im.MaxBody && m.circle.group == "" {
			// Not pushed: a device that pulls it gets it once for all modifications since, as fast as it takes it.
			if told, err = m.circle.heads(tx, m.circle.people); err != nil {
				return err
			}
		}
		now := tx.Now()
		tx.AfterCommit(func() {
			reply(&im.ModifyReply{Change: ch})
			for _, n := range told {
				c.tell(n)
			}
			c.delivering(now)
		})
		return nil
	})
	if err != nil || current == nil {
		return err
	}
	if before {
		ch, err := c.changeBefore(ctx, m.cv.ID, m.seq, im.ChangeKind_CHANGE_MODIFY, m.by.uid)
		if err != nil || ch != nil {
			if err == nil {
				reply(&im.ModifyReply{Change: ch})
			}
			return err
		}
	}
	e, err := c.entry(ctx, current)
	if err != nil {
		return err
	}
	now := &im.Entry{}
	if err := im.Decode(e.append(nil), now); err != nil {
		return err
	}
	reply(&im.ModifyReply{Current: now})
	return nil
}

// apply makes the new body of a message from its old one. With an error there is no content.
func (m *modification) apply(old []byte) (content, error) {
	elems, cloud, rest := split(old)
	switch {
	case len(m.elems) == 0: // stay
	case m.operator && replaceable(m.elems, elems):
		elems = m.elems
	case !editable(m.elems) || !editable(elems):
		// Elements of other types stay as they are; cloud_custom_str can be replaced beside them.
		if !bytes.Equal(im.Sendable(m.elems, false), im.Sendable(elems, false)) { // a reader of an operator's message has its URLs, and does not send them
			return content{}, im.Errorf(im.CodeInvalidParameters, "only text, custom, face and location elements can be modified")
		}
	default:
		elems = m.elems
	}
	if !m.keepCloud {
		cloud = m.cloud
	}
	msg := make([]byte, 0, len(elems)+len(cloud)+len(rest))
	msg = append(append(append(msg, elems...), cloud...), rest...)
	// The platform stays among the rest, although checkMessage would leave it out: msg is stored, and only its content is checked.
	checked, err := checkMessage(msg, im.Platform_PLATFORM_OTHER)
	checked.body = msg
	return checked, err
}

// split splits a message in wire form into the fields that can be modified and the others.
func split(msg []byte) (elems, cloud, rest []byte) {
	for len(msg) > 0 {
		num, _, n := protowire.ConsumeField(msg)
		if n < 0 {
			return elems, cloud, append(rest, msg...)
		}
		switch num {
		case elemsField:
			elems = append(elems, msg[:n]...)
		case cloudField:
			cloud = append(cloud, msg[:n]...)
		default:
			rest = append(rest, msg[:n]...)
		}
		msg = msg[n:]
	}
	return elems, cloud, rest
}

// editable reports whether all elements have types that can be modified.
func editable(elems []byte) bool {
	return haveTypes(elems, im.ElemType_ELEM_TYPE_TEXT, im.ElemType_ELEM_TYPE_CUSTOM, im.ElemType_ELEM_TYPE_FACE, im.ElemType_ELEM_TYPE_LOCATION)
}

func haveTypes(elems []byte, types ...im.ElemType) bool {
	var m im.Message
	return m.UnmarshalVT(elems) == nil && !slices.ContainsFunc(m.ElemArray, func(e *im.Elem) bool { return !slices.Contains(types, e.ElemType) })
}

// replaceable reports whether an operator may replace elements. Unlike users, operators replace files, too, with those of other servers and the uploads that the
// message has: it refers to them already, and goes on to refer to those that it loses.
func replaceable(elems, old []byte) bool {
	for _, e := range [][]byte{elems, old} {
		if !haveTypes(e, im.ElemType_ELEM_TYPE_TEXT, im.ElemType_ELEM_TYPE_CUSTOM, im.ElemType_ELEM_TYPE_FACE, im.ElemType_ELEM_TYPE_LOCATION,
			im.ElemType_ELEM_TYPE_IMAGE, im.ElemType_ELEM_TYPE_SOUND, im.ElemType_ELEM_TYPE_FILE, im.ElemType_ELEM_TYPE_VIDEO) {
			return false
		}
	}
	files, bad := im.MediaFiles(elems)
	had, worse := im.MediaFiles(old)
	return bad == nil && worse == nil && !slices.ContainsFunc(files, func(f im.MediaFile) bool { return !slices.Contains(had, f) })
}

// changeBefore finds the change that an earlier call of a user made to a message; nil if there is none. It was made moments ago, so it is searched
// among the last ones.
func (c *Chat) changeBefore(ctx context.Context, id ConvID, seq uint64, kind im.ChangeKind, by UID) (*im.Change, error) {
	const last = 10_000
	cv, err := c.store.Conv(ctx, id)
	if err != nil {
		return nil, err
	}
	row, err := c.store.LastChange(ctx, id, seq, int32(kind), by, cv.Rev-min(cv.Rev, last))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.change(ctx, &row)
}
