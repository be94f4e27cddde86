import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigWatcher, type Reread } from '../../src/config/watch.ts'
import { until } from '../support/until.ts'
import { folder } from './folder.ts'

function watching(files: Record<string, string>, rest = 10) {
  const place = folder(files)
  const options = { cwd: place.path, environment: {} }
  const reads: Reread[] = []
  const load = () => loadConfig(options)
  const watcher = new ConfigWatcher(load(), options, load, (reread) => reads.push(reread), { every: 10, rest })
  onTestFinished(() => watcher.close())
  const noticed = async (what: string, change: () => void) => {
    const before = reads.length
    change()
    await until(() => reads.length > before, { what, timeout: 5000 })
  }
  return { place, watcher, noticed, reads, changes: () => reads.length }
}

/** As long as another watcher takes to notice five changes, one after the other. */
async function aWhile(): Promise<void> {
  const { place, noticed } = watching({ 'resthooks.ini': '' })
  for (const text of [';1', ';22', ';333', ';4444', ';55555'])
    await noticed(text, () => place.write('resthooks.ini', text))
}

test('a change, a replacement, a new file and a removal are noticed; quiet is quiet', async () => {
  const { place, noticed, changes } = watching({ 'resthooks.ini': '[workers]\nconcurrencia = 1\n' })
  await noticed('a longer file', () => place.write('resthooks.ini', '[workers]\nconcurrencia = 10\n'))
  await noticed('a file of the same size put in its place', () => {
    renameSync(place.write('new', '[workers]\nconcurrencia = 20\n'), join(place.path, 'resthooks.ini'))
  })
  await noticed('an instalador.env that appears', () => place.write('instalador.env', 'A=1'))
  await noticed('a resthooks.ini in a better place', () => place.write('i__produccion/p__resthooks/resthooks.ini', ''))
  await noticed('its removal', () => rmSync(join(place.path, 'i__produccion/p__resthooks/resthooks.ini')))
  const before = changes()
  await aWhile()
  expect(changes()).toBe(before)
})

test('a cliente.ini is part of the configuration', async () => {
  const { place, noticed } = watching({
    'resthooks.ini': '[listener x]\nservicio = personas',
    'rest/personas/cliente.ini': '[conexion]\nto = https://a.example/',
  })
  await noticed('the client', () => place.write('rest/personas/cliente.ini', '[conexion]\nto = https://bb.example/'))
})

test('one change is told once, even when nobody follows', async () => {
  const { place, changes } = watching({ 'resthooks.ini': '' })
  place.write('resthooks.ini', 'roto')
  await until(() => changes() > 0)
  await aWhile()
  expect(changes()).toBe(1)
})

test('after a reload that failed, what was missing is seen when it comes', async () => {
  const { place, changes } = watching({ 'resthooks.ini': '' })
  place.write('resthooks.ini', '[redis_config]\ntls = 1\nca = nueva.pem')
  await until(() => changes() === 1, { what: 'the file that names it' })
  place.write('nueva.pem', '-----BEGIN CERTIFICATE-----')
  await until(() => changes() === 2, { what: 'the certificate' })
})

test('closed means closed', async () => {
  const { place, watcher, changes } = watching({ 'resthooks.ini': '' })
  watcher.close()
  place.write('resthooks.ini', '; x')
  await aWhile()
  expect(changes()).toBe(0)
})

test('a file that is being written is read when it is at rest, whole, and once', async () => {
  const { place, reads } = watching({ 'resthooks.ini': '[workers]\nconcurrencia = 1\n' }, 300)
  for (let n = 2; n < 12; n++) {
    place.write('resthooks.ini', '')
    await new Promise((resolve) => setTimeout(resolve, 20))
    place.write('resthooks.ini', `[workers]\nconcurrencia = ${n}\n`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await until(() => reads.length > 0)
  expect(reads).toMatchObject([{ config: { workers: { concurrency: 11 } } }])
})

test('what is read on demand waits for rest too, and tells what cannot be used', async () => {
  const { place, watcher, reads } = watching({ 'resthooks.ini': '' }, 50)
  watcher.readNow('SIGHUP')
  place.write('resthooks.ini', 'roto')
  await until(() => reads.length > 0)
  expect(reads).toMatchObject([{ why: 'SIGHUP', error: expect.objectContaining({ name: 'ConfigError' }) }])
})
