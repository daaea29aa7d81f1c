package client

import (
	"github.com/tidings-im/tidings/im"
)

// MergedMessages returns the messages in a merged message.
func (c *Client) MergedMessages(m *im.Message) ([]*im.Message, error) {
	if m == nil || len(m.ElemArray) == 0 || m.ElemArray[0].GetMerger() == nil {
		return nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "message_elem_array holds no merged messages"}
	}
	e := m.ElemArray[0].GetMerger()
	if e.LayerOverLimit || layers(m) > im.MaxLayers {
		return nil, &im.Error{Code: im.CodeMergerLayers, Desc: "merged messages are nested too deep"}
	}
	return e.MessageArray, nil
}

// layers returns how deep merged messages are nested in m.
func layers(m *im.Message) int {
	deepest := 0
	for _, e := range m.GetElemArray() {
		g := e.GetMerger()
		if g == nil {
			continue
		}
		depth := 1
		for _, inner := range g.MessageArray {
			depth = max(depth, 1+layers(inner))
		}
		deepest = max(deepest, depth)
	}
	return deepest
}
