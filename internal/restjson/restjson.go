// Package restjson is the JSON that the admin REST API and webhooks share. Its shapes differ from the TIM JSON that the rest of Tidings uses, so this
// is the one place where messages are converted.
package restjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// Codes of a message body that cannot be read.
const (
	CodeBodyEmpty = 90007 // not an array, or an empty one
	CodeElement   = 90010 // an element of another shape
)

// Elem is an element of a MsgBody that is written.
type Elem struct {
	MsgType    string
	MsgContent any
}

// element is an element that is read.
type element struct {
	MsgType    string
	MsgContent json.RawMessage
}

type (
	text     struct{ Text string }
	location struct {
		Desc                string
		Latitude, Longitude float64
	}
	face struct {
		Index int32
		Data  string
	}
	custom       struct{ Data, Desc, Ext, Sound string }
	relay[E any] struct {
		Title          string
		MsgNum         int
		CompatibleText string
		AbstractList   []string
		MsgList        []relayed[E]
	}
	relayed[E any] struct {
		From_Account, To_Account string
		MsgSeq, MsgRandom        uint64
		MsgTimeStamp             uint64
		MsgBody                  []E
		CloudCustomData          string `json:",omitempty"`
	}
)

// Body returns the MsgBody of a message. Elements for which the JSON has no shape are left out.
func Body(m *im.Message) []Elem { return body(m.GetElemArray()) }

func body(elems []*im.Elem) []Elem {
	out := []Elem{}
	for _, e := range elems {
		switch b := e.Body.(type) {
		case *im.Elem_Text:
			out = append(out, Elem{"TIMTextElem", text{b.Text.Content}})
		case *im.Elem_Custom:
			out = append(out, Elem{"TIMCustomElem", custom{b.Custom.Data, b.Custom.Desc, b.Custom.Ext, b.Custom.Sound}})
		case *im.Elem_Face:
			out = append(out, Elem{"TIMFaceElem", face{b.Face.Index, b.Face.Buf}})
		case *im.Elem_Location:
			out = append(out, Elem{"TIMLocationElem", location{b.Location.Desc, b.Location.Latitude, b.Location.Longitude}})
		case *im.Elem_Merger:
			r := relay[Elem]{Title: b.Merger.Title, MsgNum: len(b.Merger.MessageArray), CompatibleText: b.Merger.CompatibleText,
				AbstractList: append([]string{}, b.Merger.AbstractArray...), MsgList: []relayed[Elem]{}}
			for _, in := range b.Merger.MessageArray {
				r.MsgList = append(r.MsgList, relayed[Elem]{in.Sender, in.ConvId, in.Seq, in.Rand, in.ServerTime, Body(in), in.CloudCustomStr})
			}
			out = append(out, Elem{"TIMRelayElem", r})
		case *im.Elem_Image:
			out = append(out, Elem{"TIMImageElem", imageOf(b.Image)})
		case *im.Elem_Sound:
			f := b.Sound
			out = append(out, Elem{"TIMSoundElem", sound{f.Url, f.FileId, f.FileSize, f.FileTime, flagOf(f.Url, f.DownloadFlag)}})
		case *im.Elem_File:
			f := b.File
			out = append(out, Elem{"TIMFileElem", file{f.Url, f.FileId, f.FileSize, f.FileName, flagOf(f.Url, f.DownloadFlag)}})
		case *im.Elem_Video:
			f := b.Video
			out = append(out, Elem{"TIMVideoFileElem", video{f.VideoUrl, f.VideoId, f.VideoSize, f.VideoDuration, f.VideoType, flagOf(f.VideoUrl, f.VideoDownloadFlag),
				f.ImageUrl, f.ImageId, f.ImageSize, f.ImageWidth, f.ImageHeight, f.ImageType, flagOf(f.ImageUrl, f.ImageDownloadFlag)}})
		}
	}
	return out
}

// Marshal returns JSON without the escapes for HTML, because programs read it. It fails for a number that JSON does not have.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ReadBody reads a MsgBody. It limits elements and messages to what one message may contain, and checks nothing else.
func ReadBody(raw json.RawMessage) ([]*im.Elem, error) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || len(items) == 0 {
		return nil, im.Errorf(CodeBodyEmpty, "MsgBody is not an array of elements")
	}
	if len(items) > im.MaxElems {
		return nil, im.Errorf(CodeElement, "MsgBody has %d elements, more than %d", len(items), im.MaxElems)
	}
	var r reader
	out := make([]*im.Elem, len(items))
	for i, item := range items {
		var e element
		err := json.Unmarshal(item, &e)
		if err == nil {
			out[i], err = r.read(&e, 0)
		}
		switch {
		case im.CodeOf(err) != 0:
			return nil, err
		case err != nil:
			return nil, im.Errorf(CodeElement, "MsgBody[%d]: %v", i, err)
		}
	}
	return out, nil
}

// reader counts what it reads, in all layers.
type reader struct{ elems, messages int }

func (r *reader) read(e *element, layer int) (*im.Elem, error) {
	if r.elems++; r.elems > im.MaxElemsInAll {
		return nil, fmt.Errorf("more than %d elements in all", im.MaxElemsInAll)
	}
	switch e.MsgType {
	case "TIMTextElem":
		c, err := content[text](e)
		return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_TEXT, Body: &im.Elem_Text{Text: &im.TextElem{Content: c.Text}}}, err
	case "TIMCustomElem":
		c, err := content[custom](e)
		return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_CUSTOM, Body: &im.Elem_Custom{Custom: &im.CustomElem{
			Data: c.Data, Desc: c.Desc, Ext: c.Ext, Sound: c.Sound}}}, err
	case "TIMFaceElem":
		c, err := content[face](e)
		return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_FACE, Body: &im.Elem_Face{Face: &im.FaceElem{Index: c.Index, Buf: c.Data}}}, err
	case "TIMLocationElem":
		c, err := content[location](e)
		return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_LOCATION, Body: &im.Elem_Location{Location: &im.LocationElem{
			Desc: c.Desc, Longitude: c.Longitude, Latitude: c.Latitude}}}, err
	case "TIMRelayElem":
		if layer++; layer > im.MaxLayers {
			return nil, im.Errorf(im.CodeMergerLayers, "messages lie more than %d deep in each other", im.MaxLayers)
		}
		c, err := content[relay[element]](e)
		if err != nil {
			return nil, err
		}
		if r.messages += len(c.MsgList); len(c.MsgList) > im.MaxMerged || r.messages > im.MaxMergedInAll {
			return nil, fmt.Errorf("MsgList has %d messages, more than %d, or there are more than %d in all", len(c.MsgList), im.MaxMerged, im.MaxMergedInAll)
		}
		m := &im.MergerElem{Title: c.Title, AbstractArray: c.AbstractList, CompatibleText: c.CompatibleText}
		for i, in := range c.MsgList {
			msg := &im.Message{Sender: in.From_Account, ConvId: in.To_Account, ConvType: im.ConvType_CONV_TYPE_C2C, Seq: in.MsgSeq, Rand: in.MsgRandom,
				ServerTime: in.MsgTimeStamp, CloudCustomStr: in.CloudCustomData}
			for _, e := range in.MsgBody {
				inner, err := r.read(&e, layer)
				if err != nil {
					return nil, fmt.Errorf("MsgList[%d]: %w", i, err)
				}
				msg.ElemArray = append(msg.ElemArray, inner)
			}
			m.MessageArray = append(m.MessageArray, msg)
		}
		return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: m}}, nil
	case "TIMImageElem":
		return readFile(e, (*image).elem)
	case "TIMSoundElem":
		return readFile(e, (*sound).elem)
	case "TIMFileElem":
		return readFile(e, (*file).elem)
	case "TIMVideoFileElem":
		return readFile(e, (*video).elem)
	case "":
		return nil, fmt.Errorf("MsgType is missing")
	}
	return nil, fmt.Errorf("there is no MsgType %q", e.MsgType)
}

func content[T any](e *element) (c T, err error) {
	if len(e.MsgContent) == 0 || bytes.Equal(e.MsgContent, []byte("null")) {
		return c, fmt.Errorf("MsgContent is missing")
	}
	if err := json.Unmarshal(e.MsgContent, &c); err != nil {
		return c, fmt.Errorf("MsgContent of %s: %w", e.MsgType, err)
	}
	return c, nil
}

// Key returns a MsgKey: the name of a message in its conversation.
func Key(seq uint64, random uint32, time int64) string {
	return fmt.Sprintf("%d_%d_%d", seq, random, time)
}

// ReadKey parses a MsgKey.
func ReadKey(key string) (seq uint64, random uint32, time int64, ok bool) {
	parts := strings.Split(key, "_")
	if len(parts) != 3 {
		return 0, 0, 0, false
	}
	seq, err1 := strconv.ParseUint(parts[0], 10, 62)
	r, err2 := strconv.ParseUint(parts[1], 10, 32)
	t, err3 := strconv.ParseUint(parts[2], 10, 62)
	return seq, uint32(r), int64(t), err1 == nil && err2 == nil && err3 == nil
}

// PlatformREST is the platform of calls of the admin API.
const PlatformREST = "RESTAPI"

// Platform returns the name of a client's platform in OptPlatform.
func Platform(p im.Platform) string {
	switch p {
	case im.Platform_PLATFORM_WINDOWS:
		return "Windows"
	case im.Platform_PLATFORM_ANDROID:
		return "Android"
	case im.Platform_PLATFORM_IOS, im.Platform_PLATFORM_SIMULATOR:
		return "iOS"
	case im.Platform_PLATFORM_MAC:
		return "Mac"
	case im.Platform_PLATFORM_LINUX:
		return "Linux"
	case im.Platform_PLATFORM_PAD:
		return "iPad"
	case im.Platform_PLATFORM_WEB:
		return "Web"
	}
	return "Unknown"
}
