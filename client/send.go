package client

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// outgoing is a message on its way to the server: its row has the status "sending".
type outgoing struct {
	cv  *conv
	row *local.Message
	m   *im.Message // as the application passed it
	// sent is m with the ids of its files, if some were uploaded.
	sent *im.Message
	// up is the upload of these files.
	up *upload
	// call is the id of its request.
	call uint64
	// finish is the completion of the application's call; nil for one left by an earlier run.
	finish func(*im.Message, error)
}

// message returns what was sent, if it was.
func (o *outgoing) message() *im.Message {
	if o.sent != nil {
		return o.sent
	}
	return o.m
}

// SendMessage sends m to a conversation and returns it as the server stored it. With an error it also returns the message, if it was stored locally,
// with status failed. m is not changed. Calls from one goroutine are sent in their order; files on this device that elements name are uploaded first, and other
// messages do not wait for that.
//
//tidings:call the message's id is known at once
func (c *Client) sendMessage(to caller[*im.Message], key Conv, m *im.Message) (msgID string, err error) {
	own, up, err := c.sendCopy(key, m)
	if err != nil {
		engine.Refuse(c.e, to, err)
		return "", err
	}
	return c.send(to, key, own, up), nil
}

// sendCopy is ownCopy for a message that is sent, with the upload of its files; nil if it has none to upload.
func (c *Client) sendCopy(key Conv, m *im.Message) (*im.Message, *upload, error) {
	own, err := ownCopy(key, m, true)
	if err != nil {
		return nil, nil, err
	}
	up, err := c.takePaths(own, m)
	return own, up, err
}

// send sends a message of the client's own, and returns its id.
func (c *Client) send(to caller[*im.Message], key Conv, own *im.Message, up *upload) (msgID string) {
	// Drawn for each message, whatever the application's JSON contains (rule 5).
	clientTime, random := draw()
	c.session.mu.Lock()
	tiny := c.session.tiny
	c.session.mu.Unlock()
	own.Platform = messagePlatform(c.cfg.Platform)
	engine.Do(c.e, to, func(finish func(*im.Message, error)) {
		c.convs.startSend(key, own, up, tiny, clientTime, random, finish)
	})
	return messageID(tiny, clientTime, random)
}

// draw returns a client time and a random number for a message of this process. The millisecond comes first in the number, so that the server's index
// of keys grows at its end; the rest counts up from a random start, for all clients of the process, which may be devices of one user: no two of them
// draw the same, and another process hardly ever does.
func draw() (clientTime uint64, random uint32) {
	now := time.Now()
	low := (drawn.Add(1) + drawnFrom) & (1<<drawnBits - 1)
	return uint64(now.Unix()), uint32(now.Nanosecond()/1e6)<<drawnBits | low
}

const drawnBits = 21 // 1000 milliseconds and these make 31 bits, as TIM's numbers have

var (
	drawnFrom = rand.Uint32()
	drawn     atomic.Uint32
)

// ownCopy copies the parts of m that belong to the sender; with send, those that are sent. If the check refuses something, the error names the field; the
// server has the same checks.
func ownCopy(key Conv, m *im.Message, send bool) (*im.Message, error) {
	switch {
	case key.ID == "":
		return nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "conv_id is empty"}
	case key.Type != im.ConvType_CONV_TYPE_C2C && key.Type != im.ConvType_CONV_TYPE_GROUP:
		return nil, im.Errorf(im.CodeInvalidParameters, "conv_type %d is neither C2C (1) nor group (2)", key.Type)
	case key.Type == im.ConvType_CONV_TYPE_C2C && !im.ValidUserID(key.ID):
		return nil, im.Errorf(im.CodeUnknownReceiver, "there can be no user %q", key.ID)
	case m == nil || len(m.ElemArray) == 0:
		return nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "message_elem_array is empty"}
	}
	sent := content(m)
	sent.CustomInt, sent.CustomStr = 0, "" // these never leave the device
	b, err := sent.MarshalVT()
	if err != nil {
		return nil, im.Errorf(im.CodeInvalidParameters, "the message cannot be encoded: %v", err)
	}
	check := im.CheckForm
	if send {
		b, check = im.Sendable(b, false), im.CheckMessage
	}
	if err := checked(b, check); err != nil {
		return nil, err
	}
	own := &im.Message{}
	if err := own.UnmarshalVT(b); err != nil {
		return nil, im.Errorf(im.CodeInvalidParameters, "the message cannot be encoded: %v", err)
	}
	unform(own)
	own.CustomInt, own.CustomStr = m.CustomInt, m.CustomStr
	return own, nil
}

// checked returns the error of a check, with the SDK's code for a message that is too large.
func checked(b []byte, check func([]byte) (im.Weight, *im.Error)) error {
	_, err := check(b)
	switch {
	case err == nil:
		return nil
	case err.Code == im.CodeMessageSize:
		err.Code = im.CodeBodySize
	}
	return err
}

// messagePlatform returns the number of message_platform, which has none for the newer platforms.
func messagePlatform(p im.Platform) int32 {
	if p > im.Platform_PLATFORM_SIMULATOR {
		return 0
	}
	return int32(p)
}

func (b *conversations) startSend(key Conv, m *im.Message, up *upload, tiny, clientTime uint64, random uint32, finish func(*im.Message, error)) {
	if b.c.Status() != LoggedIn {
		b.fill(newConv(0, key), m, "", tiny, clientTime, random, 0, 0, im.MessageStatus_MESSAGE_STATUS_SENT)
		finish(m, notLoggedIn)
		return
	}
	if r := b.c.rooms.of(key); r != nil {
		b.c.rooms.send(r, m, up, tiny, clientTime, random, finish)
		return
	}
	cv := b.convOf(key)
	body, err := content(m).MarshalVT()
	if !b.Check(err) {
		finish(nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "the message cannot be encoded"})
		return
	}
	row := &local.Message{Conv: cv.ID, Era: cv.Era, Pos: cv.SyncedTo, Sub: time.Now().UnixNano(), ClientTime: clientTime, Random: random, Sender: b.c.cfg.UserID,
		SenderTiny: tiny, Time: b.c.session.serverNow().UnixMilli(), Status: im.MessageStatus_MESSAGE_STATUS_SENDING, Here: true, Body: body}
	if row.Sub <= b.lastSub {
		row.Sub = b.lastSub + 1
	}
	b.lastSub = row.Sub
	o := &outgoing{cv: cv, row: row, m: m, finish: finish}
	if !m.IsOnlineMsg { // an online-only message has no row (rule 21)
		if !b.Check(b.DB.Put(row)) {
			finish(nil, engine.Failed)
			return
		}
		cv.Hidden, cv.dirty = false, true
		b.changed[cv] = true
	}
	if b.Conn == nil {
		b.failSend(o, &im.Error{Code: im.CodeDisconnected, Desc: "not connected"})
		return
	}
	if up == nil {
		b.ask(o)
		return
	}
	up.join(&waiting{key: uploadKey{key, clientTime, random}, cv: cv, m: m, o: o, tiny: tiny, at: row.Time,
		begin: func(sent *im.Message) {
			body, err := content(sent).MarshalVT()
			if err != nil {
				b.failSend(o, im.Errorf(im.CodeInvalidParameters, "the message cannot be encoded: %v", err))
				return
			}
			o.sent, o.up, row.Body = sent, up, body
			b.ask(o) // first: if the row cannot be stored, the send fails with the batch
			if !m.IsOnlineMsg {
				b.Check(b.DB.Put(row)) // the answer to a later run, too, need not contain the message
			}
		},
		fail: func(err *im.Error) { b.failSend(o, err) }})
}

// ask sends a message to the server.
func (b *conversations) ask(o *outgoing) {
	cv := o.cv
	k := sendKey{cv.ID, o.row.ClientTime, o.row.Random}
	b.sends[k] = o
	req := &im.SendRequest{Conv: cv.key().wire(), ClientTime: k.clientTime, Random: k.random, Message: wire(o.message(), o.sent != nil), Epoch: cv.groupEpoch()}
	o.call = engine.Ask(b.Engine, im.Method_SEND, req, true, b.c.cfg.Limits.Send, func(reply *im.SendReply, err *im.Error) {
		if b.sends[k] != o {
			return // the log entry arrived first and was the acknowledgement
		}
		if err == nil && reply.Entry == nil {
			err = engine.Unreadable
		}
		if err != nil {
			delete(b.sends, k)
			b.failSend(o, err)
			return
		}
		b.sent(o, reply)
	})
}

// mark puts what the application keeps with a message into the send of it that has not ended, which stores the row again.
func (b *conversations) mark(cv *conv, row *local.Message, n uint32, s string) {
	for _, o := range []*outgoing{b.sends[sendKey{cv.ID, row.ClientTime, row.Random}], b.uploads[uploadKey{cv.key(), row.ClientTime, row.Random}].sending()} {
		if o == nil {
			continue
		}
		o.row.Body = row.Body
		for _, m := range []*im.Message{o.m, o.sent} {
			if m != nil {
				m.CustomInt, m.CustomStr = n, s
			}
		}
	}
}

// sent handles the server's reply: the entry as it is in the log.
func (b *conversations) sent(o *outgoing, reply *im.SendReply) {
	cv, e := o.cv, reply.Entry
	if o.m.IsOnlineMsg {
		delete(b.sends, sendKey{cv.ID, o.row.ClientTime, o.row.Random})
		e.Sender, e.SenderTinyId, e.ClientTime, e.Random = b.c.cfg.UserID, o.row.SenderTiny, o.row.ClientTime, o.row.Random
		m := o.message()
		b.fillEntry(cv, e, m)
		if o.finish != nil {
			o.finish(m, nil)
		}
		b.tellRewritten(cv, e, m)
		return
	}
	e.Sender, e.SenderTinyId, e.ClientTime, e.Random = b.c.cfg.UserID, o.row.SenderTiny, o.row.ClientTime, o.row.Random
	if cv.Epoch == 0 && e.Seq == 1 && !b.c.sync.listing() {
		cv.Epoch = reply.Epoch
	}
	if e.Seq == 0 || cv.Epoch != reply.Epoch {
		// Accepted without being logged (rule 20), or the first message of a conversation whose beginning this device does not have.
		b.acknowledge(cv, o.row, e)
		if e.Seq != 0 {
			b.refresh(cv)
		}
		return
	}
	b.acknowledge(cv, o.row, e)
	b.raise(cv, e)
	if e.Seq == cv.SyncedTo+1 && !cv.pulling && !cv.queued && !cv.deferred {
		cv.SyncedTo, cv.dirty = e.Seq, true
	}
	b.c.sync.enqueue(cv)
}

// acknowledged handles an entry as the acknowledgement of a message that this device sent, and reports whether it is one. It also does if the
// database fails: the batch is undone.
func (b *conversations) acknowledged(cv *conv, e *im.Entry) bool {
	if e.Sender != b.c.cfg.UserID {
		return false
	}
	own, err := b.DB.SentHere(&cv.ConvRow, e.ClientTime, e.Random)
	if b.Check(err) && own != nil {
		b.acknowledge(cv, own, e)
	}
	return err != nil || own != nil
}

// sentLate handles the reply to a send that was given up. Nothing else tells this device that its message is in the log.
func (b *conversations) sentLate(body []byte) {
	reply := &im.SendReply{}
	if b.DB == nil || im.Decode(body, reply) != nil || reply.Entry.GetSeq() == 0 {
		return
	}
	reply.Entry.Sender = b.c.cfg.UserID
	for _, cv := range b.byKey {
		if cv.Epoch == reply.Epoch {
			b.raise(cv, reply.Entry)
			b.c.sync.enqueue(cv)
			return
		}
	}
	b.c.sync.start()
}

// acknowledge brings a row that this device sent to the state of its log entry, however the entry arrived (rule 19), and answers the call that still
// waits for it.
func (b *conversations) acknowledge(cv *conv, row *local.Message, e *im.Entry) {
	k := sendKey{cv.ID, row.ClientTime, row.Random}
	o := b.sends[k]
	delete(b.sends, k)
	if o != nil {
		row = o.row
	}
	older := row.Version > e.Version // a reply that was made before a change that has been applied since
	if e.Seq != 0 && (row.Seq != e.Seq || row.Era != cv.Era) {
		// History may have brought the same entry before it was known to be ours.
		if !b.Check(b.DB.MakeRoom(&cv.ConvRow, e.Seq, row.ID)) {
			return
		}
		row.Era, row.Pos, row.Sub, row.Seq = cv.Era, e.Seq, 0, e.Seq
	}
	row.Time, row.Version = e.Time, max(row.Version, e.Version)
	cleared := row.Status == im.MessageStatus_MESSAGE_STATUS_DELETED && len(row.Body) == 0 // what came after the clearing is on the device again
	if cleared || row.Status != im.MessageStatus_MESSAGE_STATUS_DELETED && row.Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
		row.Status = max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT)
	}
	rewritten := false
	if e.Message != nil && !older {
		body, other := rewrite(row.Body, e.Message)
		row.Body, rewritten = body, other && (!cleared || e.Version > 0)
	}
	if !b.Check(b.DB.Put(row)) {
		return
	}
	b.changed[cv] = true
	m, err := b.view(cv, row)
	if !b.Check(err) {
		return
	}
	if o != nil && o.finish != nil {
		answer := m
		if rewritten {
			answer = o.message() // what was sent; the update reports the rewriting
			b.fillEntry(cv, e, answer)
		}
		o.finish(answer, nil)
	}
	if rewritten && row.Status == im.MessageStatus_MESSAGE_STATUS_SENT {
		b.tellMessage(kindUpdated, row.ID, m)
	}
}

// rewrite puts the server's content in the place of ours, keeping what never leaves the device, and reports whether it differs from what was sent.
func rewrite(ours []byte, theirs *im.Message) ([]byte, bool) {
	old := &im.Message{}
	if old.UnmarshalVT(ours) != nil {
		return ours, false
	}
	now := content(theirs)
	now.CustomInt, now.CustomStr = old.CustomInt, old.CustomStr
	other := differs(old, now)
	keepPaths(old, now)
	body, err := now.MarshalVT()
	if err != nil {
		return ours, false
	}
	return body, other
}

// tellRewritten tells of the content that a message without a row has got from the app's webhook.
func (b *conversations) tellRewritten(cv *conv, e *im.Entry, sent *im.Message) {
	if e.Message == nil {
		return
	}
	ours, err := content(sent).MarshalVT()
	body, other := rewrite(ours, e.Message)
	now := &im.Message{}
	if err == nil && other && now.UnmarshalVT(body) == nil {
		b.fillEntry(cv, e, now)
		b.Live(func() { b.c.ev.tellUpdated([]*im.Message{now}) })
	}
}

// failSend ends a send that failed: the row stays, with status failed.
func (b *conversations) failSend(o *outgoing, err *im.Error) {
	o.row.Status = unsentStatus(err)
	if o.sent != nil || o.m == nil {
		o.row.Body = notUploaded(o.row.Body)
	}
	if b.DB != nil && !o.m.GetIsOnlineMsg() {
		b.Check(b.DB.Put(o.row))
		b.changed[o.cv] = true
	}
	if o.finish != nil {
		b.fill(o.cv, o.m, b.c.cfg.UserID, o.row.SenderTiny, o.row.ClientTime, o.row.Random, 0, 0, o.row.Status)
		o.finish(o.m, err)
	}
}

// unsentStatus returns the status of a message whose send has ended with err.
func unsentStatus(err *im.Error) im.MessageStatus {
	if err != nil && err.Code == im.CodeSendCancelled {
		return im.MessageStatus_MESSAGE_STATUS_CANCELLED
	}
	return im.MessageStatus_MESSAGE_STATUS_FAILED
}

// settle looks up the sends that an earlier run left open: those that are found are sent, all others failed; nothing is sent by itself.
func (b *conversations) settle() {
	rows, err := b.DB.Sending()
	if !b.Check(err) {
		return
	}
	rows = slices.DeleteFunc(rows, func(r *local.Message) bool {
		cv := b.byID[r.Conv]
		if cv == nil {
			return true
		}
		_, open := b.sends[sendKey{r.Conv, r.ClientTime, r.Random}]
		_, waits := b.uploads[uploadKey{cv.key(), r.ClientTime, r.Random}]
		return open || waits
	})
	b.settleRows(rows)
}

// settleRows asks the server about the sends in rows.
func (b *conversations) settleRows(rows []*local.Message) {
	for part := range slices.Chunk(rows, lookupAtOnce) {
		req := &im.LookupRequest{}
		for _, r := range part {
			cv := b.byID[r.Conv]
			req.Keys = append(req.Keys, &im.SendKey{Conv: cv.key().wire(), ClientTime: r.ClientTime, Random: r.Random, Epoch: cv.groupEpoch()})
		}
		engine.Ask(b.Engine, im.Method_LOOKUP, req, true, 0, func(reply *im.LookupReply, err *im.Error) {
			if err != nil || len(reply.Found) == 0 || len(reply.Found) > len(part) {
				return // asked again at the next login
			}
			if len(reply.Found) < len(part) {
				b.settleRows(part[len(reply.Found):]) // what did not fit into the reply
			}
			for i, r := range part[:len(reply.Found)] {
				// The log may have shown it first, or the application may have deleted it.
				r, err := b.DB.ByID(r.ID)
				if !b.Check(err) || r == nil || r.Status != im.MessageStatus_MESSAGE_STATUS_SENDING {
					continue
				}
				cv := b.byID[r.Conv]
				if e := reply.Found[i].Entry; e != nil && e.Seq != 0 && (cv.Epoch == 0 || cv.Epoch == reply.Found[i].Epoch) {
					e.ClientTime, e.Random, e.Sender, e.SenderTinyId = r.ClientTime, r.Random, r.Sender, r.SenderTiny
					b.acknowledge(cv, r, e)
				} else {
					b.failSend(&outgoing{cv: cv, row: r}, nil)
				}
			}
		})
	}
}
