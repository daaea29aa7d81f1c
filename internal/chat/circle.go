package chat

import "github.com/tidings-im/tidings/im"

// circle is who is in a conversation, and the id by which each of them knows it.
type circle struct {
	conv ConvID
	// people are the two of a C2C conversation, or one if it is with oneself.
	people []person
	// group is the id of a group, whose members are not known here.
	group string
}

// key names the conversation for one of them.
func (w *circle) key(uid UID) *im.ConvKey {
	if w.group != "" {
		return groupKeyOf(w.group)
	}
	return &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: w.calledBy(uid)}
}

func groupKeyOf(group string) *im.ConvKey {
	return &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: group}
}

func circleOf(id ConvID, a, b person) circle {
	if a.uid == b.uid {
		return circle{conv: id, people: []person{a}}
	}
	return circle{conv: id, people: []person{a, b}}
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
	if w.group != "" {
		return w.group
	}
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
			Conv: w.key(p.uid), Epoch: uint64(w.conv), Change: ch,
		}))
	}
	return out
}

// changed is change for a message; members of a group who do not have it are told only that the number is taken.
func (w *circle) changed(tx Tx, st *Stored, ch *im.Change) ([]news, error) {
	if w.group == "" {
		return w.change(ch), nil
	}
	cv, err := tx.Conv(w.conv)
	if err != nil {
		return nil, err
	}
	push := &im.ChangePush{Conv: w.key(0), Epoch: uint64(w.conv), Change: ch}
	void := &im.ChangePush{Conv: push.Conv, Epoch: push.Epoch, Change: &im.Change{Rev: ch.Rev}}
	to := Audience{Group: w.conv, Rev: ch.Rev, MemberSet: cv.MemberSet}
	var out []news
	if st.Targeted {
		if to.Among, err = tx.Addressees(st.Conv, st.Seq); err != nil {
			return nil, err
		}
		to.Among = append(to.Among, st.Sender)
		out = append(out, pushChange.to(Audience{Group: w.conv, Rev: ch.Rev, MemberSet: cv.MemberSet, Without: to.Among}, void))
	}
	if typ := groupTypes[cv.Type]; typ == nil || !typ.history || st.Targeted {
		late := to
		late.Late = st.Seq
		out = append(out, pushChange.to(late, void))
		to.Seq = st.Seq
	}
	return append(out, pushChange.to(to, push)), nil
}

// senderName returns the name of the sender of a message of the conversation.
func (w *circle) senderName(tx Tx, uid UID) (string, error) {
	if w.group == "" {
		return w.nameOf(uid), nil
	}
	if uid == 0 {
		return SystemUser, nil
	}
	u, err := tx.User(uid)
	return u.Name, err
}

// head reads the head of one of them inside a transaction, and makes its event.
func (w *circle) head(tx Tx, uid UID) (*im.Head, news, error) {
	row, err := headIn(tx, w.conv, uid)
	if err != nil {
		return nil, news{}, err
	}
	head := headOf(uid, w.calledBy(uid), &row)
	return head, pushHead.to(Audience{Users: []UID{uid}, Groups: w.group != ""}, head), nil
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
	if w.group != "" {
		return nil, nil // how far a member has read is their own matter
	}
	cv, err := tx.Conv(w.conv)
	if err != nil || cv.blockedBy(uid) {
		return nil, err
	}
	return w.heads(tx, w.others(uid))
}
