/** `npm run bench`: with the programs that it starts as processes of their own. */
import { readdir } from 'node:fs/promises'
import { launch } from '../support/launch.mjs'

const peers = new URL('peers/', import.meta.url)
const names = (await readdir(peers)).filter((name) => name.endsWith('.ts'))
await launch(
  new URL('bench.ts', import.meta.url),
  names.map((name) => new URL(name, peers)),
)
