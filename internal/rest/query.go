package rest

import (
	"net/url"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// parseQuery parses a query whose values some clients do not escape: a plus sign is a plus sign, and a percent sign that does not begin an escape
// stands for itself.
func parseQuery(raw string) (map[string]string, error) {
	out := make(map[string]string)
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name == "" {
			continue
		}
		if v, err := url.PathUnescape(value); err == nil {
			value = v
		}
		if _, twice := out[name]; twice {
			return nil, im.Errorf(codeMalformed, "%s occurs twice in the URL", name)
		}
		out[name] = value
	}
	return out, nil
}
