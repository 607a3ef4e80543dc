// Speech in a live stream, with the WebSocket of browsers, Node >= 22, Deno and Bun. It comes back when the
// connection breaks, and nothing is lost. usage: node stream.mjs FILE.wav [URL]   (16-bit mono WAV, sent as if spoken)
import { readFile } from 'node:fs/promises'

if (typeof WebSocket === 'undefined') {
  console.error(`stream.mjs needs Node 22 or newer, this is ${process.version}; from 20.10 on, node --experimental-websocket`)
  process.exit(2)
}
const [path, url = 'ws://localhost:8000'] = process.argv.slice(2)
const CHUNK_MS = 100
const speed = Number(process.env.SPEED ?? 1) // 1: as fast as it was spoken

/** Rate and samples of a WAV file. */
function parseWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let rate = 0
  for (let at = 12; at + 8 <= bytes.length; at += 8 + view.getUint32(at + 4, true)) {
    const kind = String.fromCharCode(...bytes.subarray(at, at + 4))
    if (kind === 'fmt ') {
      if (view.getUint16(at + 10, true) !== 1 || view.getUint16(at + 22, true) !== 16) break
      rate = view.getUint32(at + 12, true)
    }
    if (kind === 'data') return { rate, pcm: bytes.subarray(at + 8, at + 8 + view.getUint32(at + 4, true)) }
  }
  throw new Error(`${path}: this example sends 16-bit mono WAV`)
}

function fail(text) {
  console.error(text)
  process.exit(1)
}

const { rate, pcm } = await readFile(path).then(parseWav).catch((error) => fail(error.message))
const chunkBytes = ((rate * CHUNK_MS) / 1000) * 2
let session = ''
let seq = 0

let everOpen = false

/** One connection; resolves to whether the stream is done. */
function converse() {
  // An option goes with its mode, which is not every model's default.
  const query = new URLSearchParams({ sample_rate: rate, mode: 'endpoint', max_end_silence_time: 500 })
  if (session) {
    query.set('session', session)
    query.set('after', seq)
  }
  const socket = new WebSocket(`${url}/vad/stream?${query}`)
  let timer
  return new Promise((resolve) => {
    const speakFrom = (sample) => {
      let at = sample * 2
      timer = setInterval(() => {
        if (at < pcm.length) {
          socket.send(pcm.slice(at, (at += chunkBytes)))
        } else {
          clearInterval(timer)
          socket.send(JSON.stringify({ type: 'end' }))
        }
      }, CHUNK_MS / speed)
    }
    let done = false
    socket.onopen = () => (everOpen = true)
    socket.onerror = () => resolve(done) // of a connection that could not be opened; `onclose` does not always follow
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data)
      seq = message.seq ?? seq
      if (message.type === 'ready') {
        session = message.session
        speakFrom(message.offset_samples) // 0, or where the server stands when we come back
      } else if (message.type === 'speech_start') {
        console.log(message.start_ms, 'speech ...')
      } else if (message.type === 'speech_end') {
        console.log(message.start_ms, message.end_ms)
      } else if (message.type === 'error') {
        fail(`${message.code}: ${message.detail}`)
      } else if (message.type === 'done') {
        done = true
      }
    }
    socket.onclose = () => {
      clearInterval(timer)
      resolve(done)
    }
  })
}

for (let attempt = 0; attempt < 5; attempt += 1) {
  if (await converse()) process.exit(0)
  if (!everOpen) fail(`no answer from ${url}`)
  await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt))
}
fail('the connection keeps breaking')
