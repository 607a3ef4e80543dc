// Segments of a file while they are found, with Node's own fetch. usage: node detect.mjs FILE [URL]
import { openAsBlob } from 'node:fs'
import { basename } from 'node:path'

const [file, url = 'http://localhost:8000'] = process.argv.slice(2)
const form = new FormData()
form.append('file', await openAsBlob(file), basename(file))
const answer = await fetch(`${url}/vad?format=ndjson`, { method: 'POST', body: form })
if (!answer.ok) {
  const problem = await answer.json()
  throw new Error(`${problem.title}: ${problem.detail}`)
}
let rest = ''
for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + piece).split('\n')
  rest = lines.pop()
  for (const line of lines.map((text) => JSON.parse(text))) {
    if (line.type === 'segment') console.log(line.start_ms, line.end_ms)
    if (line.type === 'error') throw new Error(line.detail)
  }
}
