package main

import (
	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// downloadElem has one callback for the progress, whose text is "downloading", and then once for the end.
func downloadElem(c *call, cl *client.Client, p *im.DownloadElemParam) {
	last := &im.MsgDownloadElemResult{} // on the callback thread
	t, cb, ud := c.lib.threads.current(c.lib), c.cb(), c.ud()
	progress := func(got, total int64) {
		last.CurrentSize, last.TotalSize = uint64(got), uint64(total)
		if cb != 0 {
			t.fire(c.name, func() { callComm(cb, 0, "downloading", im.ToJSON(last), ud) })
		}
	}
	done := doneWith(c, func(struct{}) string { return im.ToJSON(last) })
	cl.DownloadElemFunc(p, c.text[1], progress, func(err error) { done(struct{}{}, err) })
}
