// Uploads with tus-js-client as the script of a web page would: what is not allowed to it there fails here.
//
// node upload.mjs ENDPOINT TOKEN: lines on standard output say what has happened.
import crypto from 'node:crypto'
import * as tus from 'tus-js-client'

const [endpoint, token] = process.argv.slice(2)
const origin = 'https://chat.example'
// What a script may always send and read.
const simple = ['accept', 'accept-language', 'content-language']
const readable = ['cache-control', 'content-language', 'content-length', 'content-type', 'expires', 'last-modified', 'pragma']
const listed = (text, name) => (text ?? '').split(',').some((s) => s.trim().toLowerCase() === name.toLowerCase())

// Page sends requests as a browser does for a page of another origin: it asks before, and shows what it may.
class Page {
  stack = new tus.DefaultHttpStack({})
  getName() { return 'Page' }
  createRequest(method, url) {
    const req = this.stack.createRequest(method, url)
    const headers = []
    const { setHeader, send } = req
    req.setHeader = function (name, value) { headers.push(name); setHeader.call(this, name, value) }
    req.send = async function (body) {
      const asked = headers.filter((h) => !simple.includes(h.toLowerCase()))
      const may = await fetch(url, {
        method: 'OPTIONS',
        headers: { Origin: origin, 'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': asked.join(',') },
      })
      const allowed = may.headers.get('Access-Control-Allow-Headers')
      const from = may.headers.get('Access-Control-Allow-Origin')
      if (!may.ok || (from !== '*' && from !== origin)) throw new Error(`preflight of ${method}: ${may.status}, from ${from}`)
      if (!listed(may.headers.get('Access-Control-Allow-Methods'), method)) throw new Error(`${method} is not allowed`)
      for (const h of asked) if (!listed(allowed, h)) throw new Error(`${h} is not allowed`)
      setHeader.call(this, 'Origin', origin)
      const res = await send.call(this, body)
      const { getHeader } = res
      const shown = getHeader.call(res, 'Access-Control-Expose-Headers')
      const to = getHeader.call(res, 'Access-Control-Allow-Origin')
      if (to !== '*' && to !== origin) throw new Error(`the response to ${method} is for ${to}`)
      res.getHeader = function (name) { return readable.includes(name.toLowerCase()) || listed(shown, name) ? getHeader.call(this, name) : undefined }
      return res
    }
    return req
  }
}

function upload(data, more = {}) {
  return new Promise((resolve, reject) => {
    const at = []
    const u = new tus.Upload(data, {
      endpoint,
      httpStack: new Page(),
      headers: { Authorization: `Bearer ${token}` },
      metadata: { filename: 'Übung.bin', filetype: 'application/octet-stream' },
      chunkSize: 256 << 10,
      retryDelays: [0, 100, 500, 1000],
      addRequestId: false,
      onProgress: (sent) => { at.push(sent); more.progress?.(u, sent) },
      onSuccess: () => resolve(u),
      onError: reject,
      onBeforeRequest: more.before,
      ...more.options,
    })
    more.made?.(u)
    u.start()
  })
}

const say = (what, u) => console.log(what, u.url, crypto.createHash('sha256').update(u.file).digest('hex'))

// In parts. The test cuts the connection in the third one, and the client goes on by itself.
say('whole', await upload(crypto.randomBytes(2 << 20), { options: { onShouldRetry: () => { console.log('cut'); return true } } }))

// Stopped in the middle of a part, and gone on with later, by its URL alone.
const data = crypto.randomBytes(1 << 20)
const url = await new Promise((resolve, reject) => {
  let stopped = false
  upload(data, {
    progress: (u, sent) => { if (!stopped && sent > 400 << 10) { stopped = true; u.abort().then(() => resolve(u.url), reject) } },
  }).catch(reject)
})
let first
say('resumed', await upload(data, { options: { uploadUrl: url }, progress: (_, sent) => { first ??= sent } }))
if (!(first > 0)) throw new Error(`it began again at ${first}`)

// Each part with its checksum; one that is wrong is refused with 460, and the client sends the part again.
let wrong = 1
const summed = crypto.randomBytes(600 << 10)
say('checked', await upload(summed, {
  options: { chunkSize: 200 << 10, onShouldRetry: (err) => { console.log('refused', err.originalResponse?.getStatus()); return true } },
  before: (req) => {
    if (req.getMethod() !== 'PATCH') return
    const at = Number(req.getHeader('Upload-Offset'))
    const hash = crypto.createHash('sha256').update(summed.subarray(at, at + (200 << 10)))
    if (at > 0 && wrong-- > 0) hash.update('x')
    req.setHeader('Upload-Checksum', `sha256 ${hash.digest('base64')}`)
  },
}))

// Terminated.
const gone = await upload(crypto.randomBytes(1000))
await gone.abort(true)
console.log('terminated', gone.url)

// Too large: refused before a byte is sent, with a code that the page can read.
try {
  await upload(Buffer.alloc(29 << 20), { options: { metadata: { kind: 'image' } } })
  throw new Error('29 MB of an image were taken')
} catch (err) {
  console.log('too large', err.originalResponse?.getStatus(), err.originalResponse?.getHeader('Tidings-Code'))
}
