package client

// Groups are the calls about groups: creating, joining and leaving them, their members, their information and their attributes. Its methods are calls
// like those of Client, and may be made from any goroutine. Messages in groups are sent and read like all others, with the methods of Client.
type Groups struct{ c *Client }

// Groups returns the calls about groups.
func (c *Client) Groups() Groups { return Groups{c} }
