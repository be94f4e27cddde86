/**
 * The page's own files, as `build.mjs` made them: read once, sent as they lie, kept by browsers for as long as they like. Apart from
 * the server, as they need nothing of a project.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { Context } from 'hono'
import { packageRoot } from '../folders.ts'

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** The best first. */
const ENCODINGS = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const

export class PageFiles {
  readonly #files: ReadonlyMap<string, Buffer>
  readonly #index: string

  constructor() {
    const folder = join(packageRoot(), 'dist', 'panel')
    const names = readdirSync(folder).filter((name) => name !== 'index.html')
    this.#files = new Map(names.map((name) => [name, readFileSync(join(folder, name))]))
    this.#index = readFileSync(join(folder, 'index.html'), 'utf8')
  }

  /** Null: there is none of that name. */
  answer(c: Context, name: string): Response | null {
    const type = TYPES[extname(name)]
    const plain = this.#files.get(name)
    if (plain === undefined || type === undefined) return null
    const accepted = c.req.header('accept-encoding') ?? ''
    const [encoding, suffix] = ENCODINGS.find(([each]) => accepted.includes(each)) ?? [null, '']
    c.header('content-type', type)
    c.header(
      'cache-control',
      /-[A-Z0-9]{8}\./.test(name) ? 'public, max-age=31536000, immutable' : 'public, max-age=86400',
    )
    c.header('vary', 'accept-encoding')
    if (encoding !== null) c.header('content-encoding', encoding)
    return c.body(new Uint8Array(this.#files.get(name + suffix) ?? plain))
  }

  /** Every address of the page is this document: what to show it asks for. */
  index(c: Context, prefix: string): Response {
    return c.html(this.#index.replaceAll('%BASE%', `${prefix}/`))
  }
}
