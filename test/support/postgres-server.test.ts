/** Root's own folders are closed to the user whom Postgres runs as: what it needs goes where that user can read it. */
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { copyOf, nativeFolder, ordinaryAccount, reachableTmpdir, runs } from './postgres-server.ts'

const root = process.getuid?.() === 0

test.runIf(root)('a Postgres in a folder of root alone is copied to where it runs', () => {
  const closed = closedFolder()
  const native = join(closed, 'native')
  cpSync(nativeFolder(), native, { recursive: true, verbatimSymlinks: true })
  const account = ordinaryAccount()
  expect(runs(join(native, 'bin'), account)).toBe(false)
  const programs = copyOf(native, account)
  onTestFinished(() => rmSync(dirname(programs), { recursive: true, force: true }))
  expect(runs(programs, account)).toBe(true)
})

test.runIf(root)('a temporary folder of root alone gives way to the system’s', () => {
  const before = process.env.TMPDIR
  process.env.TMPDIR = closedFolder()
  onTestFinished(() => {
    process.env.TMPDIR = before
  })
  expect(reachableTmpdir(ordinaryAccount())).toBe('/tmp')
})

function closedFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cerrada-'))
  chmodSync(folder, 0o700)
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
