package media

import (
	"encoding/binary"
	"errors"
)

// jpegInfo is what the headers of a JPEG say besides its size.
type jpegInfo struct {
	// orientation is that of EXIF, 1 to 8.
	orientation int
	progressive bool
	// samples is how many samples per pixel there are at most, over all components.
	samples int
}

var errJPEG = errors.New("media: no frame in this JPEG")

// readJPEG reads the segments of a JPEG up to its frame header.
func readJPEG(b []byte) (info jpegInfo, err error) {
	info.orientation = 1
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return info, errJPEG
	}
	for b = b[2:]; len(b) >= 4; {
		if b[0] != 0xff {
			return info, errJPEG
		}
		marker := b[1]
		if marker == 0xff { // fill
			b = b[1:]
			continue
		}
		if marker == 0 || marker == 1 || marker >= 0xd0 && marker <= 0xd7 {
			b = b[2:]
			continue
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 2 || n+2 > len(b) {
			return info, errJPEG
		}
		segment := b[4 : n+2]
		switch {
		case marker == 0xe1 && len(segment) > 6 && string(segment[:6]) == "Exif\x00\x00":
			if o := orientationOf(segment[6:]); o > 0 {
				info.orientation = o
			}
		case marker == 0xc0 || marker == 0xc1 || marker == 0xc2:
			if len(segment) < 6 {
				return info, errJPEG
			}
			info.progressive, info.samples = marker == 0xc2, int(segment[5])
			return info, nil
		case marker == 0xda || marker == 0xd9:
			return info, errJPEG
		}
		b = b[n+2:]
	}
	return info, errJPEG
}

// orientationOf returns the orientation in a TIFF header with its first directory, 0 if there is none.
func orientationOf(tiff []byte) int {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 0
	}
	count := uint64(order.Uint16(tiff[at:]))
	for i := range count {
		entry := at + 2 + 12*i
		if entry+12 > uint64(len(tiff)) {
			return 0
		}
		if e := tiff[entry:]; order.Uint16(e) == 0x0112 && order.Uint16(e[2:]) == 3 && order.Uint32(e[4:]) == 1 {
			if o := int(order.Uint16(e[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 0
		}
	}
	return 0
}
