//go:build tidings_plain

package im

import "strconv"

// enumString returns the name of an enum's value, or its number if it has none.
func enumString(names map[int32]string, value int32) string {
	if s, ok := names[value]; ok {
		return s
	}
	return strconv.Itoa(int(value))
}
