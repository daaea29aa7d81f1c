// Package rate limits how often something may be done.
package rate

// Bucket lets a number of things through per second, and as many again at once. The zero value is full. It is used by one goroutine at a time.
type Bucket struct {
	left float64
	at   int64
}

// Take reports whether one more may be done at a time in nanoseconds, which is not before that of the last call.
func (b *Bucket) Take(perSecond int, now int64) bool {
	if b.at == 0 {
		b.left = float64(perSecond)
	} else {
		b.left = min(float64(perSecond), b.left+float64(now-b.at)/1e9*float64(perSecond))
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
