package link

import (
	"net/url"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// proxyURL returns the proxy's address; nil for none. The environment is ignored.
func proxyURL(proxy string) (*url.URL, error) {
	if proxy == "" {
		return nil, nil
	}
	u, err := url.Parse(proxy)
	switch {
	// The address is not repeated: it may contain a password.
	case err != nil || u.Hostname() == "" || u.Scheme == "http" && u.Port() == "" || u.Scheme != "http" && u.Scheme != "socks5":
		return nil, im.Errorf(im.CodeInvalidParameters, "the proxy is not socks5://host:port or http://host:port")
	case strings.TrimSuffix(u.Path, "/") != "" || strings.ContainsAny(proxy, "?#"):
		return nil, im.Errorf(im.CodeInvalidParameters, "the proxy has more than a host and a port")
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' }):
		return nil, im.Errorf(im.CodeInvalidParameters, "the proxy's name has letters beyond ASCII: write it as xn--")
	}
	return u, nil
}
