package chat

import "github.com/tidings-im/tidings/im"

// circle is who is in a conversation, and the id by which each of them knows it.
type circle struct {
	conv ConvID
	// people are the two of a C2C conversation, or one if it is with oneself.
	people []person
}

func circleOf(id ConvID, a, b person) circle {
	if a.uid == b.uid {
		return circle{id, []person{a}}
	}
	return circle{id, []person{a, b}}
}

// others returns all except one.
func (w *circle) others(uid UID) (out []person) {
	for _, p := range w.people {
		if p.uid != uid {
			out = append(out, p)
		}
	}
	return out
}

// nameOf returns the name of one of them.
func (w *circle) nameOf(uid UID) string {
	for _, p := range w.people {
		if p.uid == uid {
			return p.name
		}
	}
	return ""
}

// calledBy returns the id of the conversation for one of them: the other's name, or their own.
func (w *circle) calledBy(uid UID) string {
	for _, p := range w.people {
		if p.uid != uid {
			return p.name
		}
	}
	return w.nameOf(uid)
}

// change makes the events of a change in the rev line: one for all who know the conversation by the same id.
func (w *circle) change(ch *im.Change) (out []news) {
	for _, p := range w.people {
		out = append(out, pushChange.to(Audience{Users: []UID{p.uid}}, &im.ChangePush{
			Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: w.calledBy(p.uid)}, Epoch: uint64(w.conv), Change: ch,
		}))
	}
	return out
}

// head reads the head of one of them inside a transaction, and makes its event.
func (w *circle) head(tx Tx, uid UID) (*im.Head, news, error) {
	row, err := headIn(tx, w.conv, uid)
	if err != nil {
		return nil, news{}, err
	}
	head := headOf(uid, w.calledBy(uid), &row)
	return head, pushHead.to(Audience{Users: []UID{uid}}, head), nil
}

// heads makes the events of the heads of some of them.
func (w *circle) heads(tx Tx, people []person) (out []news, err error) {
	for _, p := range people {
		_, n, err := w.head(tx, p.uid)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// peers makes the events of the heads of those who hear how far a user has read. Who has blocked the user does not.
func (w *circle) peers(tx Tx, uid UID) ([]news, error) {
	cv, err := tx.Conv(w.conv)
	if err != nil || cv.blockedBy(uid) {
		return nil, err
	}
	return w.heads(tx, w.others(uid))
}
