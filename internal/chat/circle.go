package chat

import "github.com/tidings-im/tidings/im"

// circle is a conversation as those who are in it know it: who they are, and what each of them calls it.
type circle struct {
	conv ConvID
	// people are the two of a C2C conversation, or the one who has it with himself.
	people []person
}

func circleOf(id ConvID, a, b person) circle {
	if a.uid == b.uid {
		return circle{id, []person{a}}
	}
	return circle{id, []person{a, b}}
}

// others are all but one.
func (w *circle) others(uid UID) (out []person) {
	for _, p := range w.people {
		if p.uid != uid {
			out = append(out, p)
		}
	}
	return out
}

// nameOf is the name of one of them.
func (w *circle) nameOf(uid UID) string {
	for _, p := range w.people {
		if p.uid == uid {
			return p.name
		}
	}
	return ""
}

// calledBy is the id by which one of them calls the conversation: the other's, or his own.
func (w *circle) calledBy(uid UID) string {
	for _, p := range w.people {
		if p.uid != uid {
			return p.name
		}
	}
	return w.nameOf(uid)
}

// change tells them of a change in the rev line.
func (w *circle) change(ch *im.Change) (out []news) {
	for _, p := range w.people {
		out = append(out, pushChange.to(Audience{Users: []UID{p.uid}}, &im.ChangePush{
			Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: w.calledBy(p.uid)}, Epoch: uint64(w.conv), Change: ch,
		}))
	}
	return out
}

// head tells one of them of the conversation as he has it inside a transaction.
func (w *circle) head(tx Tx, uid UID) (*im.Head, news, error) {
	row, err := headIn(tx, w.conv, uid)
	if err != nil {
		return nil, news{}, err
	}
	head := headOf(uid, w.calledBy(uid), &row)
	return head, pushHead.to(Audience{Users: []UID{uid}}, head), nil
}

// heads tells some of them.
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
