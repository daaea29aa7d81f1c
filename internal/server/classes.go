package server

import (
	"fmt"
	"maps"
	"strings"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// Classes makes the rules' table of platform classes from names, such as mac: desktop; platforms that are not named keep their default. Nil changes
// nothing.
func Classes(names map[string]string) (map[im.Platform]int32, error) {
	if names == nil {
		return nil, nil
	}
	classes := map[string]int32{
		"any": chat.ClassAny, "desktop": chat.ClassDesktop, "mobile": chat.ClassMobile, "pad": chat.ClassPad, "web": chat.ClassWeb,
	}
	out := maps.Clone(chat.DefaultClasses)
	for platform, class := range names {
		p, ok := im.Platform_value["PLATFORM_"+strings.ToUpper(platform)]
		if !ok {
			return nil, fmt.Errorf("classes: there is no platform %q", platform)
		}
		n, ok := classes[class]
		if !ok {
			return nil, fmt.Errorf("classes: %s: there is no class %q", platform, class)
		}
		out[im.Platform(p)] = n
	}
	return out, nil
}
