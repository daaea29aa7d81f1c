package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/image/bmp"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// picture is red on the left and blue on the right, and darker below.
func picture(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		light := uint8(255)
		if y >= h/2 {
			light = 90
		}
		for x := range w {
			c := color.RGBA{light, 0, 0, 255}
			if x >= w/2 {
				c = color.RGBA{0, 0, light, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

func encoded(t testing.TB, kind string, img image.Image) []byte {
	var b bytes.Buffer
	var err error
	switch kind {
	case "image/jpeg":
		err = jpeg.Encode(&b, img, nil)
	case "image/png":
		err = png.Encode(&b, img)
	case "image/bmp":
		err = bmp.Encode(&b, img)
	case "image/gif":
		small := image.NewPaletted(img.Bounds(), color.Palette{color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}, color.RGBA{90, 0, 0, 255}, color.RGBA{0, 0, 90, 255}, color.RGBA{0, 255, 0, 255}})
		second := image.NewPaletted(img.Bounds(), small.Palette)
		for i := range small.Pix {
			small.Pix[i] = uint8(small.Palette.Index(img.At(i%img.Bounds().Dx(), i/img.Bounds().Dx())))
			second.Pix[i] = 4
		}
		err = gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{small, second}, Delay: []int{1, 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withOrientation puts an orientation into a JPEG.
func withOrientation(data []byte, orientation int) []byte {
	tiff := append([]byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"), byte(orientation), 0, 0, 0, 0, 0, 0)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, data[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(segment)+2))
	return append(append(out, segment...), data[2:]...)
}

// colors are those in the middle of the quarters of an image: above left, above right, below left, below right.
func colors(img image.Image) string {
	b := img.Bounds()
	name := func(x, y int) string {
		r, _, blue, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
		n := "red"
		if blue > r {
			n, r = "blue", blue
		}
		if r < 0x8000 {
			n = "dark " + n
		}
		return n
	}
	w, h := b.Dx(), b.Dy()
	return strings.Join([]string{name(w/4, h/4), name(3*w/4, h/4), name(w/4, 3*h/4), name(3*w/4, 3*h/4)}, ", ")
}

// TestSizes: an image has a size whose short side is 720 and one whose short side is 198, unless it is smaller, as one sees it; of an animation the first frame.
func TestSizes(t *testing.T) {
	upright := "red, blue, dark red, dark blue"
	type test struct {
		kind         string
		w, h         int
		large, thumb string
	}
	tests := []test{
		{"image/jpeg", 740, 730, "730x720", "201x198"},
		{"image/gif", 300, 200, "", "297x198"},
		{"image/png", 200, 300, "", "198x297"},
		{"image/bmp", 400, 199, "", "398x198"},
		{"image/jpeg", 198, 500, "", ""},
		{"image/png", 3, 1, "", ""},
	}
	tests = append(tests, soak.Pick(nil, []test{
		{"image/jpeg", 1440, 900, "1152x720", "317x198"},
		{"image/bmp", 800, 800, "720x720", "198x198"},
		{"image/png", 20000, 800, "18000x720", "4950x198"}, // too wide for the better way to make it smaller
	})...)
	for _, c := range tests {
		out, err := makeSizes(context.Background(), c.kind, encoded(t, c.kind, picture(c.w, c.h)))
		if err != nil {
			t.Errorf("%s of %dx%d: %v", c.kind, c.w, c.h, err)
			continue
		}
		for _, s := range []struct {
			what string
			sized
			want string
		}{{"large", out.large, c.large}, {"thumb", out.thumb, c.thumb}} {
			if s.want == "" {
				if s.data != nil || s.width != c.w || s.height != c.h || s.kind != c.kind {
					t.Errorf("%s of %s of %dx%d is not the original: %dx%d", s.what, c.kind, c.w, c.h, s.width, s.height)
				}
				continue
			}
			img, kind, err := image.Decode(bytes.NewReader(s.data))
			if err != nil || fmt.Sprintf("%dx%d", s.width, s.height) != s.want || img.Bounds().Dx() != s.width || img.Bounds().Dy() != s.height || kind != "jpeg" || s.kind != "image/jpeg" {
				t.Errorf("%s of %s of %dx%d: %dx%d %s, want %s: %v", s.what, c.kind, c.w, c.h, s.width, s.height, kind, s.want, err)
				continue
			}
			if got := colors(img); got != upright {
				t.Errorf("%s of %s of %dx%d shows %s", s.what, c.kind, c.w, c.h, got)
			}
		}
	}
}

// TestOrientation: the sizes that are made show an image as its orientation says, and carry none.
func TestOrientation(t *testing.T) {
	data := encoded(t, "image/jpeg", picture(400, 200))
	for orientation, want := range map[int]string{
		0: "red, blue, dark red, dark blue", 1: "red, blue, dark red, dark blue", 2: "blue, red, dark blue, dark red", 3: "dark blue, dark red, blue, red",
		4: "dark red, dark blue, red, blue", 5: "red, dark red, blue, dark blue", 6: "dark red, red, dark blue, blue", 7: "dark blue, blue, dark red, red",
		8: "blue, dark blue, red, dark red", 9: "red, blue, dark red, dark blue",
	} {
		out, err := makeSizes(context.Background(), "image/jpeg", withOrientation(data, orientation))
		if err != nil {
			t.Fatal(err)
		}
		w, h := 396, 198
		if orientation >= 5 && orientation <= 8 {
			w, h = h, w
		}
		img, err := jpeg.Decode(bytes.NewReader(out.thumb.data))
		if err != nil {
			t.Fatal(err)
		}
		if got := colors(img); got != want || img.Bounds().Dx() != w || out.thumb.height != h || (out.original.width > out.original.height) != (w > h) {
			t.Errorf("orientation %d: %v %s, want %s", orientation, img.Bounds(), got, want)
		}
		if bytes.Contains(out.thumb.data, []byte("Exif")) {
			t.Error("a size that was made has EXIF")
		}
	}
}

// TestTransparent: one can see through the sizes of an image that one can see through.
func TestTransparent(t *testing.T) {
	out, err := makeSizes(context.Background(), "image/png", encoded(t, "image/png", image.NewNRGBA(image.Rect(0, 0, 300, 300))))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(out.thumb.data))
	if err != nil || out.thumb.kind != "image/png" {
		t.Fatal(err, out.thumb.kind)
	}
	if _, _, _, a := img.At(50, 50).RGBA(); a != 0 {
		t.Error("it is not transparent any more")
	}
}

// pngOf says that it is a PNG of a size; there are no pixels in it.
func pngOf(w, h int) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), uint32(w))
	ihdr = append(binary.BigEndian.AppendUint32(ihdr, uint32(h)), 8, 6, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(ihdr))
}

// TestHostileImages: what is too large, cut off or something else is refused before memory is taken for it, and is then the original in all sizes.
func TestHostileImages(t *testing.T) {
	whole := encoded(t, "image/jpeg", picture(800, 800))
	// enlarged changes the size that a JPEG says it has, and where it says it.
	enlarged := func(data []byte, marker byte, side uint16) []byte {
		data = bytes.Clone(data)
		sof := bytes.Index(data, []byte{0xff, 0xc0})
		data[sof+1] = marker
		binary.BigEndian.PutUint16(data[sof+5:], side)
		binary.BigEndian.PutUint16(data[sof+7:], side)
		return data
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		what string
		ctx  context.Context
		kind string
		data []byte
		want error
	}{
		{"30,000 x 30,000", context.Background(), "image/png", pngOf(30000, 30000), errTooManyPixels},
		{"1 x 2 billion", context.Background(), "image/png", pngOf(1, 1<<31-1), errTooManyPixels},
		{"a progressive JPEG of 36 megapixels", context.Background(), "image/jpeg", enlarged(whole, 0xc2, 6000), errTooManyPixels},
		{"a gray JPEG of 64 megapixels", context.Background(), "image/jpeg", enlarged(encoded(t, "image/jpeg", image.NewGray(image.Rect(0, 0, 8, 8))), 0xc0, 8000), errTooManyPixels},
		{"SVG", context.Background(), anyType, []byte("<svg/>"), errNoImage},
		{"a truncated JPEG", context.Background(), "image/jpeg", whole[:len(whole)/2], nil},
		{"no JPEG", context.Background(), "image/jpeg", []byte("\xff\xd8\xff\xda"), errJPEG},
		{"a PNG without pixels", context.Background(), "image/png", pngOf(10, 10), nil},
		{"too late", ended, "image/jpeg", whole, context.Canceled},
	} {
		_, err := makeSizes(c.ctx, c.kind, c.data)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
}

// TestImages: images are uploaded and have their sizes when the upload is done; several at the same time too.
func TestImages(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	data := encoded(t, "image/png", picture(800, 740))
	var wg sync.WaitGroup
	for i := range soak.Pick(2, 20) {
		one := append(append([]byte{}, data...), byte(i)) // what follows an image does not matter to it
		path := p.create(token, "image", len(one))
		wg.Go(func() {
			if a := p.patch(token, path, 0, one); a.status != http.StatusNoContent {
				t.Errorf("%d %s", a.status, a.body)
				return
			}
			path := strings.Replace(path, "/upload/", "/", 1)
			d := p.info(path, read)
			if d.Format != 3 || d.Type != "image/png" || d.Size != int64(len(one)) || len(d.Sizes) != 3 ||
				d.Sizes[0] != (describedSize{"", d.Size, 800, 740}) || d.Sizes[1].Width != 778 || d.Sizes[2].Height != 198 {
				t.Errorf("%+v", d)
			}
			for _, s := range d.Sizes {
				where := path
				if s.Path != "" {
					where += "/" + s.Path
				}
				a := p.ask("GET", where, read, nil)
				img, _, err := image.DecodeConfig(bytes.NewReader(a.body))
				if err != nil || a.status != 200 || int64(len(a.body)) != s.Size || int64(img.Width) != s.Width || int64(img.Height) != s.Height {
					t.Errorf("%q: %d %v %v", s.Path, a.status, img, err)
				}
			}
		})
	}
	wg.Wait()
	// A text that says that it is an image is the original three times, and is never shown.
	text := []byte("this is no image")
	path := p.put(token, "image", text)
	if d := p.info(path, read); d.Format != unknownFormat || d.Type != anyType || len(d.Sizes) != 3 || d.Sizes[2].Size != int64(len(text)) {
		t.Errorf("%+v", d)
	}
	if a := p.ask("GET", path+"/thumb", read, nil); !bytes.Equal(a.body, text) || a.header.Get("Content-Disposition") != "attachment" {
		t.Errorf("%d %v", a.status, a.header)
	}
	// A file has one size.
	path = p.put(token, "file", data)
	if d := p.info(path, read); len(d.Sizes) != 1 || d.Format != 0 {
		t.Errorf("%+v", d)
	}
	p.wantStatus(p.ask("GET", path+"/thumb", read, nil), 404)
}

// FuzzImage: whatever the bytes are, an image has sizes that can be read and that are no larger than it, or none.
func FuzzImage(f *testing.F) {
	for _, kind := range []string{"image/jpeg", "image/png", "image/gif", "image/bmp"} {
		f.Add(encoded(f, kind, picture(20, 10))) // large ones are slow under a fuzzer
	}
	f.Add(encoded(f, "image/gif", picture(200, 200)))
	f.Add(withOrientation(encoded(f, "image/jpeg", picture(8, 16)), 6))
	f.Add(pngOf(30000, 30000))
	f.Fuzz(func(t *testing.T, data []byte) {
		kind := typeOf(data)
		if d, ok := decoders[kind]; ok { // large ones take long, and are like small ones
			if c, err := d.config(bytes.NewReader(data)); err == nil && c.Width*c.Height > 1<<17 {
				return
			}
		}
		out, err := makeSizes(t.Context(), kind, data)
		if err != nil {
			return
		}
		for _, s := range []sized{out.large, out.thumb} {
			if s.data == nil {
				continue
			}
			c, _, err := image.DecodeConfig(bytes.NewReader(s.data))
			if err != nil || c.Width != s.width || c.Height != s.height || c.Width > out.original.width || c.Height > out.original.height {
				t.Errorf("%v %dx%d of %dx%d: %v", c, s.width, s.height, out.original.width, out.original.height, err)
			}
		}
	})
}

// FuzzTus: headers of the protocol are understood or refused; what is understood means only one thing.
func FuzzTus(f *testing.F) {
	f.Add("1", "kind ZmlsZQ==,filename YQ==", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
	f.Add("-0", "a", "sha256 ")
	f.Add("18446744073709551616", ",,", "")
	f.Fuzz(func(t *testing.T, length, meta, sum string) {
		if n, ok := number(length); ok && (n < 0 || fmt.Sprint(n) != length) {
			t.Errorf("%q is %d", length, n)
		}
		if m, err := metadata(meta); err == nil {
			if k, ok := kindIn(m); ok && (k < 0 || k.MostMedia() <= 0 || k.MostMedia() > 100<<20) {
				t.Errorf("%q is a %d", meta, k)
			}
		}
		if c, ok := checksumIn(sum); ok && c.hash != nil && len(c.want) != c.hash.Size() {
			t.Errorf("%q has %d bytes", sum, len(c.want))
		}
		if id := hashIn(meta); id != "" && (len(id) != 64 || strings.ContainsAny(id, "./\\")) {
			t.Errorf("%q has the hash %q", meta, id)
		}
		if im.ValidMediaID(meta) && strings.ContainsAny(meta, "./\\ ") {
			t.Errorf("%q is an id", meta)
		}
	})
}

// TestMemoryOfAPhoto: the sizes of a photo take little more memory than the photo.
func TestMemoryOfAPhoto(t *testing.T) {
	const w, h = 2400, 1800
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 90, 200
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, img, nil); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := makeSizes(context.Background(), "image/jpeg", data.Bytes())
	runtime.ReadMemStats(&after)
	if err != nil || out.large.width != 960 || out.large.height != 720 || out.thumb.width != 264 || out.thumb.height != 198 {
		t.Fatalf("%+v, %v", out, err)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 55<<20 {
		t.Errorf("%d MB are taken", taken>>20)
	} else {
		t.Logf("%d MB", taken>>20)
	}
}
