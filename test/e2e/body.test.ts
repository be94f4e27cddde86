/** The body a listener gets is byte for byte what `send` was given. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ReceivedRequest, ScriptedListener } from '../support/listener.ts'
import { expect, sharedWorldTest } from '../support/world.ts'

/** One listener that takes everything, and one worker. */
const test = sharedWorldTest().extend<{ listener: ScriptedListener }>({
  listener: [
    async ({ world }, use) => {
      const listener = await world.listener(() => ({ status: 200 }))
      await world.worker()
      await use(listener)
    },
    { scope: 'file' },
  ],
})

/** What the listener was asked for a message, once it has settled. */
function requestsFor({ requests }: ScriptedListener, id: string): ReceivedRequest[] {
  return requests.filter(({ headers }) => headers['webhook-id'] === id)
}

test.for([
  ['a 20-digit number', '{"cbu":12345678901234567890,"d":1.10,"e":1E+2}'],
  ['key order, numeric keys included', '{"z":1,"10":2,"2":3,"a":4}'],
  ['escapes', '{"a":"\\u00e1\\/\\ud83d\\ude00\\u0000","b":"\\\\n"}'],
  ['duplicate keys', '{"a":1,"a":2}'],
  ['blanks and line ends', ' {\r\n\t"a" : 1\n}  '],
  ['a bare string', '"hola"'],
  ['null', 'null'],
  ['text beyond ASCII', '{"razón":"Ñandú €  😀"}'],
] as const)('%s survives', async ([, text], { world, listener }) => {
  const argument = await world.send('x', text)
  const piped = await world.cli(['send', 'x', '-'], { input: text })
  expect(piped).toMatchObject({ code: 0, stderr: '' })
  for (const id of [argument, piped.stdout.trim()]) {
    await world.settled(id)
    expect(requestsFor(listener, id).map(({ body }) => body.toString())).toEqual([text])
  }
})

test('binary from a file, with its content type', async ({ world, listener }) => {
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7919) % 256))
  await writeFile(join(world.folder, 'remito.pdf'), bytes)
  const id = await world.send('x', '@remito.pdf', ['--tipo-contenido', 'application/pdf'])
  await world.settled(id)
  const [request] = requestsFor(listener, id)
  expect(request!.body.equals(bytes)).toBe(true)
  expect(request!.headers['content-type']).toBe('application/pdf')
})

test('a message without data has an empty body', async ({ world, listener }) => {
  const id = await world.send('x')
  await world.settled(id)
  const [request] = requestsFor(listener, id)
  expect(request!.body).toHaveLength(0)
})
