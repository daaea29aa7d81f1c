package restjson

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// Elements with files. One with a foreign URL is loaded from there, and its UUID is the other server's. Without a URL, or with one that the server has formed for the
// app's program, the UUID is the id of an upload.
type (
	sound struct {
		Url, UUID     string
		Size, Second  int32
		Download_Flag int32
	}
	file struct {
		Url, UUID     string
		FileSize      int32
		FileName      string
		Download_Flag int32
	}
	video struct {
		VideoUrl, VideoUUID                string
		VideoSize, VideoSecond             uint32
		VideoFormat                        string
		VideoDownloadFlag                  int32
		ThumbUrl, ThumbUUID                string
		ThumbSize, ThumbWidth, ThumbHeight uint32
		ThumbFormat                        string
		ThumbDownloadFlag                  int32
	}
	image struct {
		UUID           string
		ImageFormat    int32
		ImageInfoArray []imageInfo
	}
	imageInfo struct {
		Type, Size, Width, Height int32
		URL                       string
	}
)

// Values of Type.
const (
	original = 1 + iota
	large
	thumb
)

var sizes = map[int32]string{large: im.MediaLarge, thumb: im.MediaThumb}

// byURL is the Download_Flag of a file that has a URL.
const byURL = 2

func flagOf(url string, flag int32) int32 {
	if url != "" {
		return byURL
	}
	return flag
}

// readFile reads an element with files, and checks its limits.
func readFile[T any](e *element, convert func(*T) (*im.Elem, error)) (*im.Elem, error) {
	c, err := content[T](e)
	if err != nil {
		return nil, err
	}
	out, err := convert(&c)
	if err == nil {
		var b []byte
		if b, err = (&im.Message{ElemArray: []*im.Elem{out}}).MarshalVT(); err == nil {
			if _, bad := im.CheckForm(b); bad != nil {
				err = errors.New(bad.Desc)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("MsgContent of %s: %w", e.MsgType, err)
	}
	return out, nil
}

// place is where a file is: the id of an upload, or the URL of another server and its UUID.
func place(urlName, url, uuidName, uuid string) (id, foreign string, err error) {
	if url == "" || im.IsForeignURL(url) {
		return uuid, url, nil
	}
	upload, size, ok := im.UploadOf(url)
	id = upload
	if size != "" {
		id += "/" + size
	}
	named, _, _ := strings.Cut(uuid, "/")
	switch {
	case !ok:
		return "", "", fmt.Errorf("%s is not an http or https URL of up to %d bytes", urlName, im.MaxURL)
	case uuid != "" && named != upload:
		return "", "", fmt.Errorf("%s is not the upload of %s", uuidName, urlName)
	}
	return id, "", nil
}

func (c *sound) elem() (*im.Elem, error) {
	id, url, err := place("Url", c.Url, "UUID", c.UUID)
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_SOUND, Body: &im.Elem_Sound{Sound: &im.SoundElem{
		FileId: id, Url: url, FileSize: c.Size, FileTime: c.Second, DownloadFlag: flagOf(url, 0)}}}, err
}

func (c *file) elem() (*im.Elem, error) {
	id, url, err := place("Url", c.Url, "UUID", c.UUID)
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{
		FileId: id, Url: url, FileSize: c.FileSize, FileName: c.FileName, DownloadFlag: flagOf(url, 0)}}}, err
}

func (c *video) elem() (*im.Elem, error) {
	id, url, err := place("VideoUrl", c.VideoUrl, "VideoUUID", c.VideoUUID)
	if err != nil {
		return nil, err
	}
	picture, picURL, err := place("ThumbUrl", c.ThumbUrl, "ThumbUUID", c.ThumbUUID)
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_VIDEO, Body: &im.Elem_Video{Video: &im.VideoElem{
		VideoId: id, VideoUrl: url, VideoSize: c.VideoSize, VideoDuration: c.VideoSecond, VideoType: c.VideoFormat, VideoDownloadFlag: flagOf(url, 0),
		ImageId: picture, ImageUrl: picURL, ImageSize: c.ThumbSize, ImageWidth: c.ThumbWidth, ImageHeight: c.ThumbHeight, ImageType: c.ThumbFormat, ImageDownloadFlag: flagOf(picURL, 0)}}}, err
}

// elem gives each size an id of its own, as sizes of uploads have: programs keep files by their ids.
func (c *image) elem() (*im.Elem, error) {
	for _, info := range c.ImageInfoArray {
		if upload, _, _ := im.UploadOf(info.URL); c.UUID == "" {
			c.UUID = upload
		}
	}
	f := &im.ImageElem{Format: c.ImageFormat, OrigId: c.UUID}
	seen := 0
	for i, info := range c.ImageInfoArray {
		if info.Type < original || info.Type > thumb || seen&(1<<info.Type) != 0 {
			return nil, fmt.Errorf("ImageInfoArray[%d]: Type is not 1, 2 or 3, or occurs twice", i)
		}
		seen |= 1 << info.Type
		id, url, err := place("URL", info.URL, "UUID", c.UUID)
		if err != nil {
			return nil, fmt.Errorf("ImageInfoArray[%d]: %w", i, err)
		}
		if id != "" && info.Type != original && (info.URL == "" || url != "") {
			id += "/" + sizes[info.Type]
		}
		switch info.Type {
		case original:
			f.OrigId, f.OrigUrl, f.OrigPicSize, f.OrigPicWidth, f.OrigPicHeight = id, url, info.Size, info.Width, info.Height
		case large:
			f.LargeId, f.LargeUrl, f.LargePicSize, f.LargePicWidth, f.LargePicHeight = id, url, info.Size, info.Width, info.Height
		case thumb:
			f.ThumbId, f.ThumbUrl, f.ThumbPicSize, f.ThumbPicWidth, f.ThumbPicHeight = id, url, info.Size, info.Width, info.Height
		}
	}
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: f}}, nil
}

func imageOf(f *im.ImageElem) image {
	c := image{UUID: f.OrigId, ImageFormat: f.Format, ImageInfoArray: []imageInfo{{original, f.OrigPicSize, f.OrigPicWidth, f.OrigPicHeight, f.OrigUrl}}}
	if f.LargeId != "" || f.LargeUrl != "" {
		c.ImageInfoArray = append(c.ImageInfoArray, imageInfo{large, f.LargePicSize, f.LargePicWidth, f.LargePicHeight, f.LargeUrl})
	}
	if f.ThumbId != "" || f.ThumbUrl != "" {
		c.ImageInfoArray = append(c.ImageInfoArray, imageInfo{thumb, f.ThumbPicSize, f.ThumbPicWidth, f.ThumbPicHeight, f.ThumbUrl})
	}
	return c
}
