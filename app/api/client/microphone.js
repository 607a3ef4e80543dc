// A microphone's speech, in one file that any page can import from the service:
//
//   import { listen } from 'https://vad.example.com/client/microphone.js'
//   const listening = await listen({ onmessage: (message) => console.log(message.type, message.start_ms) })
//   …
//   await listening.stop()   // the last segments are told, then `done`
//
// options: those of WS /vad/stream (`model`, `mode`, `max_end_silence_time`, …); key: where keys are asked for; media:
// a MediaStream of your own in place of the microphone; onmessage: every message of the protocol; onerror: told once,
// when it is over before its time. A connection that breaks is taken up again, and no sound is lost.
//
// The file is the audio thread's program too: loaded there it registers a processor, loaded by a page it exports.

const CHUNKS_PER_S = 50 // 20 ms each: what telephony and WebRTC send
const KEEP_CHUNKS = 30 * CHUNKS_PER_S // of sound that is not known to have arrived: as long as a session waits for us
const PAUSES_MS = [200, 500, 1000, 2000, 4000]
const PING_MS = 1000

if (typeof registerProcessor === 'function') {
  class Capture extends AudioWorkletProcessor {
    chunk = new Int16Array(Math.round(sampleRate / CHUNKS_PER_S))
    used = 0

    process([[channel]]) {
      for (const sample of channel ?? []) {
        this.chunk[this.used++] = Math.max(-1, Math.min(1, sample)) * 32767
        if (this.used === this.chunk.length) {
          this.port.postMessage(this.chunk.slice())
          this.used = 0
        }
      }
      return true
    }
  }
  registerProcessor('fsmn-vad-capture', Capture)
}

/** Begin; resolves when the microphone is open and the service listens. */
export async function listen({ options = {}, key = '', media = null, onmessage = () => {}, onerror = null } = {}) {
  const source = media ?? (await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true } }))
  const context = new AudioContext()
  try {
    await context.audioWorklet.addModule(import.meta.url)
    const session = new Session(context.sampleRate, options, key, onmessage, onerror)
    const capture = new AudioWorkletNode(context, 'fsmn-vad-capture', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' })
    capture.port.onmessage = ({ data }) => session.send(data)
    const release = async () => {
      capture.port.onmessage = null
      if (!media) source.getTracks().forEach((track) => track.stop())
      if (context.state !== 'closed') await context.close()
    }
    session.ended.finally(release)
    await session.ready
    context.createMediaStreamSource(source).connect(capture)
    await context.resume()
    return {
      stop: async () => {
        await release()
        session.end()
        await session.ended
      },
      change: (changed) => session.say({ type: 'options', ...changed }),
      sampleRate: context.sampleRate,
    }
  } catch (error) {
    if (!media) source.getTracks().forEach((track) => track.stop())
    if (context.state !== 'closed') await context.close()
    throw error
  }
}

class Session {
  #kept = []
  #first = 0 // samples before the first chunk that is kept
  #socket = null
  #name = ''
  #seq = 0
  #over = false
  #ending = false
  #attempt = 0
  #timer = setInterval(() => this.say({ type: 'ping' }), PING_MS)

  constructor(rate, options, key, onmessage, onerror) {
    Object.assign(this, { rate, options, key, onmessage, onerror })
    this.ready = new Promise((resolve, reject) => Object.assign(this, { isReady: resolve, isNot: reject }))
    this.ended = new Promise((resolve) => (this.isOver = resolve))
    this.ready.catch(() => {})
    this.#connect()
  }

  send(chunk) {
    this.#kept.push(chunk)
    if (this.#kept.length > KEEP_CHUNKS) this.#first += this.#kept.shift().length
    if (this.#open) this.#socket.send(chunk)
  }

  say(message) {
    if (this.#open) this.#socket.send(JSON.stringify(message))
  }

  end() {
    this.#ending = true
    this.say({ type: 'end' })
  }

  get #open() {
    return this.#name && this.#socket?.readyState === WebSocket.OPEN && this.#socket.greeted
  }

  #connect() {
    const address = new URL('/vad/stream', import.meta.url)
    address.protocol = address.protocol.replace('http', 'ws')
    const query = { sample_rate: this.rate, ...this.options }
    if (this.key) query.api_key = this.key
    if (this.#name) Object.assign(query, { session: this.#name, after: this.#seq })
    address.search = new URLSearchParams(query)
    const socket = (this.#socket = new WebSocket(address))
    socket.onmessage = ({ data }) => this.#hear(socket, JSON.parse(data))
    socket.onclose = ({ code, reason }) => this.#closed(code, reason)
  }

  #hear(socket, message) {
    this.#seq = message.seq ?? this.#seq
    if (message.type === 'ready') {
      this.#name = message.session
      this.#attempt = 0
      this.#forget(message.offset_samples)
      socket.greeted = true
      for (const chunk of this.#from(message.offset_samples)) socket.send(chunk)
      if (this.#ending) this.end()
      this.isReady()
    } else if (message.type === 'pong') {
      this.#forget(Math.floor((message.received_ms * this.rate) / 1000))
    }
    if (message.type === 'error' && !['bad_message', 'invalid_option'].includes(message.code)) this.failure = message
    if (message.type === 'error' && !socket.greeted) this.failure = message
    this.onmessage(message)
    if (message.type === 'done') this.#finish()
  }

  #forget(samples) {
    while (this.#kept.length && this.#first + this.#kept[0].length <= samples) this.#first += this.#kept.shift().length
  }

  *#from(samples) {
    let at = this.#first
    for (const chunk of this.#kept) {
      yield at < samples ? chunk.subarray(samples - at) : chunk
      at += chunk.length
    }
  }

  #closed(code, reason) {
    if (this.#over) return
    if (this.failure || [1000, 1008, 1009].includes(code)) return this.#fail(this.failure?.detail ?? reason)
    if (!this.#name || this.#attempt >= PAUSES_MS.length) return this.#fail('no answer from the service')
    setTimeout(() => this.#connect(), PAUSES_MS[this.#attempt++])
  }

  #fail(detail) {
    const error = new Error(detail)
    this.#finish()
    this.isNot(error)
    this.onerror?.(error)
  }

  #finish() {
    this.#over = true
    clearInterval(this.#timer)
    this.isOver()
  }
}
