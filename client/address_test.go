package client

import (
	"strings"
	"testing"
)

// Addresses that cannot be used exactly as they are written are refused, and passwords in them are not repeated.
func TestAddressesAsWritten(t *testing.T) {
	for _, bad := range []Config{
		{Proxy: "http://u:hunter2@127.0.0.1"}, {Proxy: "ftp://u:hunter2@127.0.0.1:1"}, {Proxy: "socks5://u:hunter2@127.0.0.1:1/path"}, {Proxy: "http://u:hunter2@127.0.0.1:1?x"},
		{Proxy: "http://u:hunter2@127.0.0.1:1#x"}, {Proxy: "http://u:hunter2@127.0.0.1:x"}, {Proxy: "hunter2"},
		{Server: "ws://u:hunter2@127.0.0.1:1#x"}, {Server: "http://u:hunter2@127.0.0.1:1"}, {Server: "ws://u:hunter2@127.0.0.1:x"},
	} {
		bad.UserID, bad.Dir = "ann", t.TempDir()
		c, err := Open(bad, Events{})
		if err == nil {
			c.Close()
		}
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("server %q, proxy %q: %v", bad.Server, bad.Proxy, err)
		}
	}
}
