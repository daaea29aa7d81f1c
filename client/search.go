package client

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// The index contains, for each message, the pairs of neighbouring characters in its texts: with it, any part of a word in any script with two
// characters or more is found. What it finds is read and compared, so it may contain too much but never too little.

// mostKeywords is TIM's limit; indexAtOnce is how many messages are indexed before other work gets its turn; mostPairs is how many pairs of a keyword
// are looked up in the index: what it finds is compared in full.
const (
	mostKeywords = 5
	indexAtOnce  = 2000
	mostPairs    = 50
)

// Search finds messages that are on this device. In one conversation it returns a page of its messages, newest first; over all, the conversations
// with the number of their hits, and the message if there is exactly one.
//
//tidings:call
func (c *Client) search(to caller[*im.SearchResult], p *im.SearchParam) {
	p = cmp.Or(p, &im.SearchParam{})
	var words []string
	for _, k := range p.KeywordArray {
		if k = fold(strings.TrimSpace(k)); k != "" {
			words = append(words, k)
		}
	}
	switch {
	case len(p.KeywordArray) > mostKeywords:
		engine.Refuse(c.e, to, im.Errorf(im.CodeInvalidParameters, "msg_search_param_keyword_array has more than %d keywords", mostKeywords))
		return
	case len(words) == 0 && len(p.SendIdentifierArray) == 0 && len(p.MessageTypeArray) == 0:
		engine.Refuse(c.e, to, im.Errorf(im.CodeInvalidParameters, "msg_search_param_keyword_array, message_type_array and send_identifier_array are all empty"))
		return
	}
	doReading(c, to, func(finish func(*im.SearchResult, error)) {
		c.convs.indexThen(func(err error) {
			var r *im.SearchResult
			if err == nil {
				r, err = c.convs.searchNow(p, words)
			}
			switch {
			case err == nil:
				finish(r, nil)
			case local.IsRefused(err):
				finish(&im.SearchResult{}, im.Errorf(im.CodeInvalidParameters, "the search cannot be made: %v", err))
			default:
				c.e.Check(err)
				finish(&im.SearchResult{}, engine.Failed)
			}
		})
	})
}

// fold makes texts comparable: upper and lower case, composed and decomposed, full and half width are equal (Unicode's full case folding and NFKC).
func fold(s string) string {
	ascii := true
	for i := 0; i < len(s) && ascii; i++ {
		ascii = s[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(s)
	}
	// Decomposed, what folds to several letters is one letter and its marks, except the sharp s.
	return norm.NFC.String(sharp.Replace(strings.Map(foldRune, norm.NFKD.String(s))))
}

var sharp = strings.NewReplacer("\u00df", "ss")

// foldRune returns the same for all letters that differ only in case.
func foldRune(r rune) rune {
	least := r
	for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
		least = min(least, o)
	}
	return unicode.ToLower(least)
}

// texts returns the parts of a message that can be searched.
func texts(m *im.Message) []string {
	var out []string
	for _, e := range m.ElemArray {
		switch b := e.Body.(type) {
		case *im.Elem_Text:
			out = append(out, b.Text.Content)
		case *im.Elem_Custom:
			out = append(out, b.Custom.Desc)
		case *im.Elem_Location:
			out = append(out, b.Location.Desc)
		case *im.Elem_Merger:
			out = append(append(out, b.Merger.Title), b.Merger.AbstractArray...)
		}
	}
	return out
}

// pairs returns the index words of a folded text, each once and at most so many: each two neighbouring characters that are not white space.
func pairs(s string, most int) []string {
	var out []string
	have := make(map[[2]rune]bool)
	last := rune(-1)
	for _, r := range s {
		if unicode.IsSpace(r) {
			last = -1
			continue
		}
		if p := [2]rune{last, r}; last >= 0 && !have[p] {
			if len(out) == most {
				break
			}
			have[p] = true
			out = append(out, fmt.Sprintf("%xg%x", last, r))
		}
		last = r
	}
	return out
}

// indexThen updates the index, some messages at a time so that the engine stays free for other work, and then calls then.
func (b *conversations) indexThen(then func(error)) {
	if b.c.session.readable() != nil {
		then(notLoggedIn)
		return
	}
	rows, err := b.DB.NotIndexed(indexAtOnce)
	if err != nil {
		then(err)
		return
	}
	for _, r := range rows {
		if err := b.index(r); err != nil {
			then(err)
			return
		}
	}
	if len(rows) > 0 {
		if err := b.DB.SetIndexed(rows[len(rows)-1].ID); err != nil {
			then(err)
			return
		}
	}
	if len(rows) < indexAtOnce {
		then(nil)
		return
	}
	b.Soon(then, func() { b.indexThen(then) })
}

func (b *conversations) index(r *local.Message) error {
	m := &im.Message{}
	if err := m.UnmarshalVT(r.Body); err != nil {
		return nil // nothing to be found in it
	}
	var words []string
	for _, t := range texts(m) {
		words = append(words, pairs(fold(t), math.MaxInt)...)
	}
	if len(words) == 0 {
		return nil
	}
	slices.Sort(words)
	return b.DB.Index(r.ID, slices.Compact(words))
}

// reindex adds the words of a changed message, if it was indexed already.
func (b *conversations) reindex(r *local.Message) {
	last, err := b.DB.Indexed()
	if b.Check(err) && r.ID <= last {
		b.Check(b.index(r))
	}
}

func (b *conversations) searchNow(p *im.SearchParam, words []string) (*im.SearchResult, error) {
	var s local.Query
	if p.ConvType != im.ConvType_CONV_TYPE_INVALID {
		cv := b.byKey[Conv{p.ConvType, p.ConvId}]
		if cv == nil {
			return &im.SearchResult{}, nil
		}
		s.Conv = cv.ID
	}
	until := min(p.SearchTimePosition, 1<<40) // seconds: no clock comes near
	if until != 0 {
		s.Until = int64(until+1) * 1000
	}
	if p.SearchTimePeriod != 0 {
		until = cmp.Or(until, uint64(b.c.session.serverNow().Unix()))
		s.From = int64(until-min(until, p.SearchTimePeriod)) * 1000
	}
	s.Match = matchOf(words, p.KeywordListMatchType == 1)
	rows, err := b.DB.Search(s)
	if err != nil {
		return nil, err
	}
	hits := map[*conv][]*im.Message{}
	var order []*conv
	for _, r := range rows {
		cv := b.byID[r.Conv]
		if cv == nil || len(p.SendIdentifierArray) > 0 && !slices.Contains(p.SendIdentifierArray, r.Sender) {
			continue
		}
		m, err := b.view(cv, r)
		if err != nil || !matches(m, p, words) {
			continue
		}
		if len(hits[cv]) == 0 {
			order = append(order, cv)
		}
		hits[cv] = append(hits[cv], m)
	}
	result := &im.SearchResult{}
	if p.ConvType != im.ConvType_CONV_TYPE_INVALID {
		for _, cv := range order {
			result.TotalCount = uint32(len(hits[cv]))
			result.ItemArray = append(result.ItemArray, &im.SearchResultItem{ConvId: cv.key().ID, ConvType: cv.key().Type,
				TotalMessageCount: result.TotalCount, MessageArray: page(hits[cv], p)})
		}
		return result, nil
	}
	slices.SortStableFunc(order, func(a, b *conv) int { return cmp.Compare(hits[b][0].ServerTime, hits[a][0].ServerTime) })
	result.TotalCount = uint32(len(order))
	for _, cv := range page(order, p) {
		item := &im.SearchResultItem{ConvId: cv.key().ID, ConvType: cv.key().Type, TotalMessageCount: uint32(len(hits[cv]))}
		if len(hits[cv]) == 1 {
			item.MessageArray = hits[cv]
		}
		result.ItemArray = append(result.ItemArray, item)
	}
	return result, nil
}

// matchOf returns the index query for the keywords, empty if the index cannot help: a keyword of one character.
func matchOf(words []string, all bool) string {
	var parts []string
	for _, w := range words {
		ps := pairs(w, mostPairs)
		if len(ps) == 0 {
			if all {
				continue
			}
			return ""
		}
		parts = append(parts, "("+strings.Join(ps, " AND ")+")")
	}
	if all {
		return strings.Join(parts, " AND ")
	}
	return strings.Join(parts, " OR ")
}

// matches compares a message that the index has found.
func matches(m *im.Message, p *im.SearchParam, words []string) bool {
	if len(p.MessageTypeArray) > 0 && !slices.ContainsFunc(m.ElemArray, func(e *im.Elem) bool { return slices.Contains(p.MessageTypeArray, int32(e.ElemType)) }) {
		return false
	}
	if len(words) == 0 {
		return true
	}
	found := 0
	for _, w := range words {
		if slices.ContainsFunc(texts(m), func(t string) bool { return strings.Contains(fold(t), w) }) {
			found++
		}
	}
	if p.KeywordListMatchType == 1 {
		return found == len(words)
	}
	return found > 0
}

// page returns the page that p asks for.
func page[T any](all []T, p *im.SearchParam) []T {
	if p.PageSize == 0 {
		return all
	}
	from := min(uint64(p.PageIndex)*uint64(p.PageSize), uint64(len(all)))
	return all[from:min(from+uint64(p.PageSize), uint64(len(all)))]
}
