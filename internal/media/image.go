package media

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/bmp"
	"golang.org/x/image/draw"
)

// Limits of an image that is made smaller. One beyond them is served as it is, in all sizes.
const (
	maxPixels = 40 << 20
	// maxImageMemory is how much memory one image may take, with everything that is made from it.
	maxImageMemory = 256 << 20
	// shortLarge and shortThumb are the short sides of the sizes that are made.
	shortLarge, shortThumb = 720, 198
	jpegQuality            = 85
)

var (
	errTooManyPixels = errors.New("media: the image is too large to be made smaller")
	errNoImage       = errors.New("media: this is no image of a known format")
)

// sized is a size of an image: its encoded form, nil for that of the original.
type sized struct {
	data          []byte
	kind          string // a MIME type
	width, height int
}

// sizes are those of an image, as one sees it: with its orientation applied.
type sizes struct{ original, large, thumb sized }

// decoder is what is known about a format. cost returns how many bytes the decoder takes per pixel at most.
type decoder struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	cost   func(image.Config, jpegInfo) int64
}

var decoders = map[string]decoder{
	"image/jpeg": {jpeg.DecodeConfig, jpeg.Decode, func(_ image.Config, info jpegInfo) int64 {
		if info.progressive {
			return int64(info.samples) * 5 // coefficients of 32 bits besides the samples
		}
		return int64(info.samples) + int64(info.samples/4)*4
	}},
	"image/png": {png.DecodeConfig, png.Decode, func(c image.Config, _ jpegInfo) int64 {
		switch c.ColorModel {
		case color.RGBA64Model, color.NRGBA64Model:
			return 8 + 4 // of an interlaced image there is another half
		}
		return 4 + 2
	}},
	"image/gif": {gif.DecodeConfig, gif.Decode, func(image.Config, jpegInfo) int64 { return 1 + 4 }},
	"image/bmp": {bmp.DecodeConfig, bmp.Decode, func(image.Config, jpegInfo) int64 { return 4 }},
}

// costOfSize returns how many bytes a size that is made takes per pixel at most: itself, once more if it is turned, and encoded.
func costOfSize(info jpegInfo) int64 {
	if info.orientation > 1 {
		return 4 + 4 + 4
	}
	return 4 + 4
}

// stops ends reading when its context has ended. Its reads are small, so that a decoder that does much with few bytes notices it soon.
type stops struct {
	ctx context.Context
	r   io.Reader
}

func (s stops) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p[:min(len(p), 512)])
}

// makeSizes makes the two smaller sizes of an image of a sniffed type. A size that would not be smaller is that of the original. It returns an error if the
// image is not read, for whatever reason; it ends soon after ctx.
func makeSizes(ctx context.Context, kind string, data []byte) (out sizes, err error) {
	d, ok := decoders[kind]
	if !ok {
		return out, errNoImage
	}
	var info jpegInfo
	info.orientation = 1
	if kind == "image/jpeg" {
		if info, err = readJPEG(data); err != nil {
			return out, err
		}
	}
	c, err := d.config(stops{ctx, bytes.NewReader(data)})
	if err != nil {
		return out, err
	}
	out.original = sized{kind: kind, width: c.Width, height: c.Height}
	if info.orientation >= 5 {
		out.original.width, out.original.height = c.Height, c.Width
	}
	out.large, out.thumb = out.original, out.original
	w, h := int64(c.Width), int64(c.Height)
	if w <= 0 || h <= 0 || w > maxPixels || h > maxPixels || w*h > maxPixels {
		return out, errTooManyPixels
	}
	taken := int64(len(data)) + w*h*d.cost(c, info)
	for _, short := range []int{shortLarge, shortThumb} {
		if tw, th := smaller(c.Width, c.Height, short); tw != c.Width || th != c.Height {
			taken += int64(tw) * int64(th) * costOfSize(info)
		}
	}
	if taken > maxImageMemory {
		return out, errTooManyPixels
	}
	img, err := d.decode(stops{ctx, bytes.NewReader(data)})
	if err != nil {
		return out, err
	}
	if kind == "image/gif" && img.Bounds() != image.Rect(0, 0, c.Width, c.Height) {
		whole := image.NewRGBA(image.Rect(0, 0, c.Width, c.Height)) // the first frame may be only a part of it
		draw.Draw(whole, img.Bounds(), img, img.Bounds().Min, draw.Src)
		img = whole
	}
	for _, s := range []struct {
		short int
		to    *sized
	}{{shortLarge, &out.large}, {shortThumb, &out.thumb}} {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		b := img.Bounds()
		tw, th := smaller(b.Dx(), b.Dy(), s.short)
		if tw == b.Dx() && th == b.Dy() {
			if s.to == &out.thumb { // no larger than the size before
				out.thumb = out.large
			}
			continue
		}
		small := scale(img, tw, th, maxImageMemory-taken)
		img = small // the next one is made from it
		shown := turn(small, info.orientation)
		if *s.to, err = encode(shown); err != nil {
			return out, err
		}
	}
	return out, nil
}

// smaller returns the size of an image whose short side is at most short.
func smaller(w, h, short int) (int, int) {
	side := min(w, h)
	if side <= short {
		return w, h
	}
	by := float64(short) / float64(side)
	return max(1, int(math.Round(float64(w)*by))), max(1, int(math.Round(float64(h)*by)))
}

// scale makes an image smaller: by halves, each pixel of which is the mean of four, and the rest in a better way. That takes 32 bytes for each pixel of an image
// that is as wide as the new one and as high as the one before, so it is little after the halves. What there is no memory for is left out.
func scale(img image.Image, w, h int, memory int64) *image.RGBA {
	for {
		hw, hh := img.Bounds().Dx()/2, img.Bounds().Dy()/2
		taken := 4 * int64(hw) * int64(hh)
		if hw < w || hh < h || taken > memory {
			break
		}
		half := image.NewRGBA(image.Rect(0, 0, hw, hh))
		draw.ApproxBiLinear.Scale(half, half.Bounds(), img, img.Bounds(), draw.Src, nil)
		img = half
		memory -= taken
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	var how draw.Scaler = draw.CatmullRom
	if 32*int64(w)*int64(img.Bounds().Dy()) > memory {
		how = draw.ApproxBiLinear
	}
	how.Scale(out, out.Bounds(), img, img.Bounds(), draw.Src, nil)
	return out
}

// turn applies an orientation of EXIF.
func turn(img *image.RGBA, orientation int) *image.RGBA {
	if orientation <= 1 {
		return img
	}
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	size := image.Rect(0, 0, w, h)
	if orientation >= 5 {
		size = image.Rect(0, 0, h, w)
	}
	out := image.NewRGBA(size)
	for y := range h {
		for x := range w {
			to := image.Pt(x, y)
			switch orientation {
			case 2:
				to.X = w - 1 - x
			case 3:
				to = image.Pt(w-1-x, h-1-y)
			case 4:
				to.Y = h - 1 - y
			case 5:
				to = image.Pt(y, x)
			case 6:
				to = image.Pt(h-1-y, x)
			case 7:
				to = image.Pt(h-1-y, w-1-x)
			case 8:
				to = image.Pt(y, w-1-x)
			}
			out.SetRGBA(to.X, to.Y, img.RGBAAt(x, y))
		}
	}
	return out
}

// encode encodes a size that was made: as PNG if one can see through it somewhere.
func encode(img *image.RGBA) (sized, error) {
	out := sized{kind: "image/jpeg", width: img.Bounds().Dx(), height: img.Bounds().Dy()}
	var b bytes.Buffer
	var err error
	if img.Opaque() {
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: jpegQuality})
	} else {
		out.kind = "image/png"
		err = png.Encode(&b, img)
	}
	out.data = b.Bytes()
	return out, err
}
