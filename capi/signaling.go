package main

import "github.com/tidings-im/tidings/im"

func signalingInfo(c *call) int {
	m := &im.Message{}
	var info *im.SignalingInfo
	if c.parse(m) == nil {
		info = im.Signaling(m)
	}
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	if info == nil {
		c.noJSON = true
		c.answer(&im.Error{Code: im.CodeInvalidParameters, Desc: "json_msg is not signaling message"}, "")
		return resultOK
	}
	c.answer(nil, im.ToJSON(info))
	return resultOK
}
