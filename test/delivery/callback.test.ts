import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { runCallback } from '../../src/delivery/callback.ts'
import { until } from '../support/until.ts'
import { serve, serveRaw } from './scene.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'resthooks-callback-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
})

const INPUT = {
  id: 'cb-1',
  json: '{"estado":"exitosa","n":12345678901234567890}',
  variables: { RESTHOOKS_MENSAJE: 'm1', OTRA: 'x' },
}

async function script(text: string, mode = 0o755): Promise<string> {
  const file = join(folder, `p${Math.random().toString(36).slice(2)}.sh`)
  await writeFile(file, text, { mode })
  await chmod(file, mode)
  return file
}

function run(argv: readonly string[], limit = 5000, signal = new AbortController().signal) {
  return runCallback({ kind: 'exec', argv }, INPUT, { version: '1.2.3', signal, limit })
}

async function alive(pidFile: string): Promise<boolean> {
  const pid = Number(await readFile(pidFile, 'utf8'))
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  // A zombie that nobody reaps is dead enough.
  return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: Z'))
}

describe('exec', () => {
  test('gets the JSON on stdin, its arguments as they are, and what it says is kept', async () => {
    const program = await script('#!/bin/sh\necho "$1|$2"; cat\n')
    expect(await run([program, 'a b', '$HOME; rm -rf /'])).toEqual({
      ok: true,
      detail: `a b|$HOME; rm -rf /\n${INPUT.json}`,
    })
    expect(await run([await script('#!/bin/sh\nexit 0\n')])).toEqual({ ok: true, detail: null })
  })

  test('sees RESTHOOKS_* and a bare environment, no secret of ours', async () => {
    vi.stubEnv('REST_HOOKS_DB_PASSWORD', 'cl4ve')
    vi.stubEnv('LC_TIME', 'es_AR.UTF-8')
    vi.stubEnv('NODE_OPTIONS', '')
    onTestFinished(() => void vi.unstubAllEnvs())
    const result = await run([await script('#!/usr/bin/env -S sh\nenv\n')])
    const names = (result.detail ?? '').split('\n').map((each) => each.split('=')[0])
    expect(names).toEqual(expect.arrayContaining(['RESTHOOKS_MENSAJE', 'PATH', 'LC_TIME']))
    const allowed = /^(RESTHOOKS_.*|PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR|PWD|OLDPWD|SHLVL|_)$/
    expect(names.filter((name) => !allowed.test(name!))).toEqual([])
    expect(result.detail).not.toContain('cl4ve')
  })

  test.each([
    ['fails', '#!/bin/sh\necho bien; echo mal >&2; exit 3\n', /^código de salida 3: (bien\nmal|mal\nbien)$/],
    ['is killed', '#!/bin/sh\nkill -9 $$\n', /^terminado por SIGKILL$/],
  ])('a program that %s', async (_name, text, detail) => {
    expect(await run([await script(text)])).toEqual({ ok: false, detail: expect.stringMatching(detail), final: false })
  })

  test('one that does not exist, may not run, or is none', async () => {
    expect(await run([join(folder, 'nada')])).toMatchObject({
      ok: false,
      final: false,
      detail: expect.stringContaining('no existe'),
    })
    const forbidden = await run([await script('#!/bin/sh\n', 0o644)])
    expect(forbidden).toMatchObject({ ok: false, final: false, detail: expect.stringMatching(/chmod \+x/) })
    expect(await run([await script('#!/no/hay\n')])).toMatchObject({
      ok: false,
      detail: expect.stringContaining('intérprete'),
    })
    expect(await run([await script('#!/bin/sh\n'), 'a\0b'])).toMatchObject({
      ok: false,
      detail: expect.stringContaining('no se pudo ejecutar'),
    })
    expect(await run([])).toMatchObject({ ok: false })
  })

  test('ten megabytes of output are read and 4 KB kept', async () => {
    const result = await run([await script('#!/bin/sh\nhead -c 10000000 /dev/zero | tr "\\0" x\n')])
    expect(result).toEqual({ ok: true, detail: 'x'.repeat(4096) })
  })

  test('one that does not read a large input', async () => {
    const input = { ...INPUT, json: 'x'.repeat(5_000_000) }
    const program = await script('#!/bin/sh\nexit 0\n')
    const about = { version: '1', signal: new AbortController().signal }
    expect(await runCallback({ kind: 'exec', argv: [program] }, input, about)).toMatchObject({ ok: true })
  })

  test('at its time the whole group is ended, also what ignores SIGTERM', async () => {
    const pids = join(folder, 'nieto')
    const program = await script(
      `#!/bin/sh\ntrap '' TERM\n(trap '' TERM; sh -c 'echo $$ > ${pids}; exec sleep 60') &\nwhile :; do sleep 1; done\n`,
    )
    const started = Date.now()
    const result = await run([program], 300)
    expect(result).toMatchObject({ ok: false, final: false, detail: expect.stringContaining('no terminó en 0.3 s') })
    expect(Date.now() - started).toBeLessThan(20_000)
    await until(async () => !(await alive(pids)), { what: 'the end of the grandchild' })
  })

  test('a polite one ends at SIGTERM, without the two seconds', async () => {
    const started = Date.now()
    expect(await run([await script('#!/bin/sh\necho listo\nexec sleep 60\n')], 300)).toMatchObject({
      detail: expect.stringContaining('listo'),
    })
    expect(Date.now() - started).toBeLessThan(2300)
  })

  test('a grandchild that holds the pipes does not hold us', async () => {
    const pids = join(folder, 'demonio')
    const program = await script(
      `#!/bin/sh\nsh -c 'echo $$ > ${pids}; exec sleep 30' &\nwhile [ ! -s ${pids} ]; do sleep 0.05; done\necho hecho\n`,
    )
    const started = Date.now()
    expect(await run([program])).toEqual({ ok: true, detail: 'hecho' })
    expect(Date.now() - started).toBeLessThan(20_000)
    // What it left running on purpose is its own affair.
    expect(await alive(pids)).toBe(true)
    process.kill(Number(await readFile(pids, 'utf8')))
  })

  test('the signal ends it', async () => {
    const controller = new AbortController()
    const running = run([await script('#!/bin/sh\nexec sleep 60\n')], 30_000, controller.signal)
    setTimeout(() => controller.abort(), 100)
    expect(await running).toMatchObject({ ok: false, final: false, detail: expect.stringContaining('interrumpido') })
    expect(await run(['/bin/true'], 1000, AbortSignal.abort())).toMatchObject({ ok: false, final: false })
  })
})

describe('https://…', () => {
  const post = (url: string, limit = 2000, signal = new AbortController().signal) =>
    runCallback({ kind: 'http', url }, INPUT, { version: '1.2.3', signal, limit })

  test('POSTs the same JSON with the id of the callback', async () => {
    const server = await serve(() => ({ status: 202 }))
    expect(await post(`${server.url}/aviso?x=1`)).toEqual({
      ok: true,
      detail: 'HTTP 202',
    })
    expect(server.requests[0]).toMatchObject({
      method: 'POST',
      url: '/aviso?x=1',
      headers: {
        'content-type': 'application/json',
        'webhook-id': 'cb-1',
        'user-agent': 'resthooks/1.2.3',
      },
      body: Buffer.from(INPUT.json),
    })
  })

  test.each([
    [500, false],
    [404, false],
    [422, true],
    [302, true],
    [410, true],
  ])('HTTP %i fails, for good: %s', async (status, final) => {
    const server = await serve(() => ({ status }))
    expect(await post(server.url)).toEqual({ ok: false, detail: `HTTP ${status}`, final })
  })

  test('nobody there, silence, and the signal', async () => {
    expect(await post('http://127.0.0.1:1/')).toMatchObject({
      ok: false,
      final: false,
      detail: expect.stringContaining('ECONNREFUSED'),
    })
    const silent = await serveRaw(() => {})
    expect(await post(silent.url, 200)).toMatchObject({
      ok: false,
      final: false,
      detail: expect.stringContaining('timeout'),
    })
    expect(await post(silent.url, 5000, AbortSignal.timeout(100))).toMatchObject({ ok: false, final: false })
  })
})
