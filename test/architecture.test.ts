/** What ARCHITECTURE.md promises and a compiler does not check: the direction of imports, and its list of keys. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { keysOf } from '../src/queue/keys.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

/** A folder may import from its own level and from those below. */
const LEVELS = [
  ['model'],
  ['config'],
  ['delivery', 'queue', 'audit'],
  ['worker'],
  ['recovery', 'checks'],
  ['commands', 'panel'],
]

test('imports run one way', async () => {
  const level = (folder: string) => LEVELS.findIndex((folders) => folders.includes(folder))
  const wrong: string[] = []
  for (const file of await readdir(join(root, 'src'), { recursive: true })) {
    const [folder = ''] = file.split('/')
    if (!file.endsWith('.ts') || !file.includes('/') || level(folder) < 0) continue
    const text = await readFile(join(root, 'src', file), 'utf8')
    for (const [, target = ''] of text.matchAll(/from '(?:\.\.\/)+(\w+)\//g)) {
      if (level(target) > level(folder)) wrong.push(`${file} → ${target}`)
    }
  }
  expect(wrong).toEqual([])
})

test('every folder of src is told, and stands in its level', async () => {
  const text = await readFile(join(root, 'ARCHITECTURE.md'), 'utf8')
  const folders = (await readdir(join(root, 'src'), { withFileTypes: true })).filter((entry) => entry.isDirectory())
  for (const { name } of folders) {
    expect(text).toContain(`| \`src/${name}/\` |`)
    expect(LEVELS.flat()).toContain(name)
  }
})

test('every key of Redis is told', async () => {
  const text = await readFile(join(root, 'ARCHITECTURE.md'), 'utf8')
  const { lane, ...keys } = keysOf('i', 'p')
  const names = [...Object.values(keys), ...Object.values(lane('L'))].map((key) => key.replace('resthooks:{i:p}:', ''))
  for (const name of names)
    expect(text).toContain(`\`${name.replace(/:L$/, ':<listener>').replace(/^(mensaje|clave):$/, '$1:<')}`)
})
