package chat

import (
	"hash/crc64"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

// kept are the fields of im.Message that belong to the sender's application and are stored. All others are views: the devices or the server compute
// them, so what a client puts into them is thrown away. The local custom_int and custom_str never leave the device.
var kept = fields(
	1,  // elem_array
	5,  // priority
	11, // is_online_msg
	14, // need_read_receipt
	15, // support_message_extension
	25, // cloud_custom_str
	26, // is_excluded_from_unread_count
	27, // group_at_user_array
	28, // is_forward_message
	31, // excluded_from_last_message
	32, // excluded_from_content_moderation
	33, // custom_moderation_configuration_id
	35, // disable_cloud_message_pre_hook
	36, // disable_cloud_message_post_hook
	37, // target_group_member_array
	38, // offline_push_config
	48, // excluded_from_muting
)

func fields(nums ...int) (set uint64) {
	for _, n := range nums {
		set |= 1 << n
	}
	return set
}

const (
	platformField = 9
	// Platforms above this are Tidings' own; TIM programs do not know them.
	lastTIMPlatform = im.Platform_PLATFORM_SIMULATOR
)

// content is a message that has passed the check.
type content struct {
	// body is what is stored: the kept fields, and the sender's platform. hash is the hash of the kept fields only.
	body      []byte
	hash      uint64
	countable bool
	online    bool
	// priority is that in a live room.
	priority int
	// files means that the message has elements with files; attached are their uploads, once they have been looked up.
	files    bool
	attached *Attached
	// names means that the message names users whom it mentions or is addressed to.
	names bool
	// noHook means that the before-hook is not asked.
	noHook bool
	// told is roughly how many bytes it takes to show the message to a hook: decoded, and in JSON, where a character may take six.
	told int64
}

var hashTable = crc64.MakeTable(crc64.ECMA)

// checkMessage checks a message in its wire form, without decoding it, and returns a copy of what is to be stored.
func checkMessage(msg []byte, platform im.Platform) (content, error) {
	if len(msg) > im.MaxMerger {
		return content{}, im.Errorf(im.CodeMessageSize, "the message has %d bytes, more than %d", len(msg), im.MaxMerger)
	}
	out := content{body: make([]byte, 0, len(msg)+2), countable: true, priority: usual}
	for rest := msg; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return content{}, malformed("message")
		}
		m := protowire.ConsumeFieldValue(num, typ, rest[n:])
		if m < 0 {
			return content{}, malformed("message")
		}
		field, value := rest[:n+m], rest[n:n+m]
		rest = rest[n+m:]
		if num >= 64 || kept&(1<<num) == 0 {
			continue
		}
		out.body = append(out.body, field...)
		out.names = out.names || num == 27 || num == 37
		if typ == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(value)
			switch num {
			case 5:
				out.priority = int(min(max(int32(v), highest), lowest))
			case 11:
				out.online = v != 0
			case 26:
				out.countable = v == 0
			case 35:
				out.noHook = v != 0
			}
		}
	}
	weight, bad := im.CheckMessage(out.body)
	if bad != nil {
		return content{}, bad
	}
	out.files = hasFiles(out.body)
	out.told = int64(weight.Decoded + 6*len(out.body))
	if out.files {
		out.told *= 4 // each of them gets a URL
	}
	if out.online {
		out.countable = false
	}
	out.hash = crc64.Checksum(out.body, hashTable)
	if platform <= lastTIMPlatform {
		out.body = appendUint(out.body, platformField, uint64(platform))
	}
	return out, nil
}

func malformed(what string) error {
	return im.Errorf(im.CodeInvalidParameters, "%s is malformed", what)
}
