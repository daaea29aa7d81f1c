package client

import (
	"strings"

	"github.com/tidings-im/tidings/im"
)

// downloadFlag is the flag of a file that has a URL.
const downloadFlag = 2

// formURLs sets the URLs of the files of a message: they are made from the ids and the session's token when the message is handed out. A URL that came with the
// message stays, and gets no token.
func (c *Client) formURLs(m *im.Message) {
	im.FileURLs(m, func(id string, url *string, flag *int32) {
		id, size, _ := strings.Cut(id, "/")
		if *url == "" && im.ValidMediaID(id) {
			c.session.mu.Lock()
			token := c.session.files.read
			c.session.mu.Unlock()
			if token != "" {
				*url = c.files.URL(id, size, token)
			}
		}
		if flag != nil && *url != "" {
			*flag = downloadFlag
		}
	})
}

// unform removes the URLs that formURLs sets from a message that is kept on the device: they contain a token.
func unform(m *im.Message) {
	im.FileURLs(m, func(id string, url *string, flag *int32) {
		id, _, _ = strings.Cut(id, "/")
		if of, _, formed := im.UploadOf(*url); !formed || of != id {
			return
		}
		*url = ""
		if flag != nil {
			*flag = 0
		}
	})
}

// withoutURLs calls f with a message whose files have no URLs. They are set again when it returns.
func withoutURLs(m *im.Message, f func()) {
	var restore []func()
	im.FileURLs(m, func(_ string, url *string, flag *int32) {
		had, flagged := *url, int32(0)
		*url = ""
		if flag != nil {
			flagged, *flag = *flag, 0
		}
		restore = append(restore, func() {
			*url = had
			if flag != nil {
				*flag = flagged
			}
		})
	})
	defer func() {
		for _, r := range restore {
			r()
		}
	}()
	f()
}
