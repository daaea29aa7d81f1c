package client

import (
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// attributes are the versions of groups' attributes that this device has read. A write names the one that it builds on, and the server refuses it if there
// is a newer one. Writes to a group are made one after the other, so that those of one application do not refuse each other.
type attributes struct {
	// read are the versions by the ids of the groups.
	read map[string]attributesVersion
	// waiting are the writes to each group with one under way that follow it.
	waiting map[string][]func()
}

type attributesVersion struct{ epoch, ver uint64 }

// mostAttributesRead limits the memory for versions; those that are left out are read again.
const mostAttributesRead = 10_000

func newAttributes() *attributes {
	return &attributes{read: map[string]attributesVersion{}, waiting: map[string][]func(){}}
}

// have records a version that the device has read.
func (a *attributes) have(group string, epoch, ver uint64) {
	if len(a.read) >= mostAttributesRead {
		clear(a.read)
	}
	a.read[group] = attributesVersion{epoch, ver}
}

// inTurn runs a write to a group when those before it have ended; it calls next when it has.
func (a *attributes) inTurn(group string, write func(next func())) {
	run := func() {
		write(func() {
			rest := a.waiting[group]
			if len(rest) == 0 {
				delete(a.waiting, group)
				return
			}
			a.waiting[group] = rest[1:]
			rest[0]()
		})
	}
	if rest, busy := a.waiting[group]; busy {
		a.waiting[group] = append(rest, run)
		return
	}
	a.waiting[group] = nil
	run()
}

// tookAttributes handles attributes that a call has read or written: they may be news for the application.
func (g Groups) tookAttributes(group string, r *im.AttributesReply) {
	g.c.attributes.have(group, r.Epoch, r.Ver)
	if cv := g.c.convs.byKey[Group(group)]; cv != nil && cv.Epoch == r.Epoch && !cv.over() {
		g.c.groups.takeAttributes(cv, r)
	}
}

// Attributes returns attributes of a group: those with the keys, or all if there are none. Keys that the group does not have are left out. Only members
// can read them.
//
//tidings:call
func (g Groups) attributes(to caller[[]*im.GroupAttributes], group string, keys []string) {
	wanted := make(map[string]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	req := g.of(group)
	askGroup(g, to, im.Method_ATTRIBUTES, req, req, func(r *im.AttributesReply) (out []*im.GroupAttributes) {
		g.tookAttributes(group, r)
		for _, a := range r.Attributes {
			if len(wanted) == 0 || wanted[a.GetKey()] {
				out = append(out, &im.GroupAttributes{Key: a.GetKey(), Value: a.GetValue()}) // an event may have the others
			}
		}
		return out
	})
}

// InitAttributes replaces all attributes of a group. Like all writes of attributes it builds on those that this device has read last; if others have
// changed them since, nothing is written and the code of the error is 10056. The device has then read them again, and the next write can succeed.
//
//tidings:call
func (g Groups) initAttributes(to caller[none], group string, list []*im.GroupAttributes) {
	g.writeAttributes(to, group, im.AttributesAction_ATTRIBUTES_INIT, list)
}

// SetAttributes adds attributes to a group, and replaces those with the same keys.
//
//tidings:call
func (g Groups) setAttributes(to caller[none], group string, list []*im.GroupAttributes) {
	g.writeAttributes(to, group, im.AttributesAction_ATTRIBUTES_SET, list)
}

// DeleteAttributes removes the attributes with the keys, or all if there are none. The code of the error is 10050 if the group does not have one of them.
//
//tidings:call
func (g Groups) deleteAttributes(to caller[none], group string, keys []string) {
	var list []*im.GroupAttributes
	for _, k := range keys {
		list = append(list, &im.GroupAttributes{Key: k})
	}
	g.writeAttributes(to, group, im.AttributesAction_ATTRIBUTES_DELETE, list)
}

func (g Groups) writeAttributes(to caller[none], group string, action im.AttributesAction, list []*im.GroupAttributes) {
	req, err := ownOf(&im.SetAttributesRequest{Group: g.of(group), Action: action, Attributes: list})
	if err != nil {
		engine.Refuse(g.c.e, to, refusal(im.CodeGroupParameters, err))
		return
	}
	if err := g.check(req, req.Group); err != nil {
		engine.Refuse(g.c.e, to, err)
		return
	}
	doSynced(g.c, to, func(finish func(none, error)) {
		until := time.Now().Add(g.c.cfg.Limits.Call)
		g.c.attributes.inTurn(group, func(next func()) {
			w := &attributesWrite{g, req, until, func(err *im.Error) {
				finish(none{}, orNil(err))
				next()
			}}
			if _, ok := g.c.attributes.read[group]; ok {
				w.write()
				return
			}
			w.read(func(err *im.Error) {
				if err != nil {
					w.end(err)
					return
				}
				w.write()
			})
		})
	})
}

// attributesWrite is a write of attributes under way.
type attributesWrite struct {
	g     Groups
	req   *im.SetAttributesRequest
	until time.Time
	end   func(*im.Error)
}

// left returns how much time the write has; false if there is none, or nobody to ask.
func (w *attributesWrite) left() (time.Duration, *im.Error) {
	if err := w.g.c.session.online(); err != nil {
		return 0, err
	}
	if left := time.Until(w.until); left > 0 {
		return left, nil
	}
	return 0, &im.Error{Code: im.CodeWaitAckTimeout, Desc: "no answer from the server in time"}
}

// read reads the version on which a write builds.
func (w *attributesWrite) read(then func(*im.Error)) {
	left, err := w.left()
	if err != nil {
		then(err)
		return
	}
	group := w.req.Group.GroupId
	req := &im.GroupRequest{GroupId: group, Epoch: w.g.epoch(group)}
	engine.Ask(w.g.c.e, im.Method_ATTRIBUTES, req, true, left, func(r *im.AttributesReply, err *im.Error) {
		if err == nil {
			w.g.tookAttributes(group, r)
		}
		then(err)
	})
}

func (w *attributesWrite) write() {
	left, err := w.left()
	if err != nil {
		w.end(err)
		return
	}
	group, all := w.req.Group.GroupId, w.g.c.attributes
	on := all.read[group]
	w.req.Group.Epoch, w.req.Ver = on.epoch, on.ver
	engine.Ask(w.g.c.e, im.Method_SET_ATTRIBUTES, w.req, true, left, func(r *im.AttributesReply, err *im.Error) {
		switch {
		case err == nil:
			all.have(group, r.Epoch, r.Ver)
			w.end(nil) // the result comes before the event
			w.g.tookAttributes(group, r)
			return
		case err.Code == im.CodeAttributesConflict:
			delete(all.read, group)
			w.read(func(*im.Error) { w.end(err) })
			return
		default:
			delete(all.read, group) // the group may be another one by now
		}
		w.end(err)
	})
}
