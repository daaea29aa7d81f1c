package link

import (
	"crypto/tls"
	"net/url"
	"strings"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// wsURL returns the address of the server's WebSocket.
func wsURL(server string) (string, error) {
	u, err := url.Parse(server)
	// An invalid address is not repeated, nor is a password.
	if err != nil {
		return "", im.Errorf(im.CodeInvalidParameters, "the server address is not ws://host:port or wss://host")
	}
	if u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return "", im.Errorf(im.CodeInvalidParameters, "server address %q is not ws://host:port or wss://host", u.Redacted())
	}
	if strings.Contains(server, "#") {
		return "", im.Errorf(im.CodeInvalidParameters, "server address %q has a part behind a #, which is not sent", u.Redacted())
	}
	if strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' }) {
		return "", im.Errorf(im.CodeInvalidParameters, "server address %q has letters beyond ASCII: write its name as xn--", u.Redacted())
	}
	u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + "/ws" // what is escaped stays so
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return "", im.Errorf(im.CodeInvalidParameters, "server address %q has a path that is none", u.Redacted())
	}
	return u.String(), nil
}

// Media returns the address of the server's /media/, which ends in a slash, and how to connect to it: as the link does.
func Media(server, proxy string, tls *tls.Config) (*url.URL, *ws.Dialer, error) {
	address, err := wsURL(server)
	if err != nil {
		return nil, nil, err
	}
	through, err := proxyURL(proxy)
	if err != nil {
		return nil, nil, err
	}
	u, err := url.Parse(strings.Replace(address, "ws", "http", 1))
	if err != nil {
		return nil, nil, err
	}
	u.User, u.RawQuery = nil, ""
	return u.JoinPath("../media/"), &ws.Dialer{TLS: tls, Proxy: through}, nil
}

// shownServer returns the server's address in a form that may be shown: without a password or a token.
func shownServer(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "(not an address)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
