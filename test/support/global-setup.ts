/**
 * Builds the program once and starts one Redis and one Postgres for the whole run; each test takes its own namespace
 * and schema. Whatever the tests write lies in one temporary folder, and goes with the servers at the end of the run,
 * also when a signal ends it. `RESTHOOKS_PRUEBAS_REDIS=host:port` uses a Redis that runs already (Docker's, where there is no
 * redis-server).
 */
import { existsSync, rmSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type {} from 'vitest'
import type { TestProject } from 'vitest/node'
import { build } from '../../build.mjs'
import { ordinaryAccount, reachableTmpdir, startPostgres } from './postgres-server.ts'
import { givenRedis, startRedis } from './redis-server.ts'
import { orSayWhy } from './set-up.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    redis: { host: string; port: number }
    postgres: { host: string; port: number; username: string; password: string }
  }
}

/** Nobody cuts the power of this one: what is written need not reach the disk. */
const UNSYNCED = ['-c', 'fsync=off', '-c', 'full_page_writes=off']

export default async function setup(project: TestProject) {
  const folder = await mkdtemp(join(reachableTmpdir(ordinaryAccount()), 'resthooks-pruebas-'))
  await chmod(folder, 0o755) // Postgres runs as another user where root runs the tests.
  process.env.TMPDIR = folder
  const starting = [givenServer() ?? startRedis(), startPostgres(UNSYNCED), build()] as const
  const [redis, postgres] = await orSayWhy(
    Promise.all(starting).catch(async (error) => {
      // What did start ends before the reason is told.
      for (const begun of await Promise.allSettled(starting)) {
        if (begun.status === 'fulfilled' && 'stop' in begun.value) await begun.value.stop()
      }
      await rm(folder, { recursive: true, force: true })
      throw error
    }),
  )
  project.provide('redis', { host: redis.host, port: redis.port })
  const { host, port, username, password } = postgres
  project.provide('postgres', { host, port, username, password })
  const teardown = async () => {
    await Promise.all([redis.stop(), postgres.stop()])
    await rm(folder, { recursive: true, force: true })
  }
  // At a signal Vitest gives nobody the time to wait: what is left then is ended without waiting.
  const pid = await postgres.pid()
  process.once('exit', () => {
    if ('process' in redis) redis.process.kill('SIGKILL')
    if (existsSync(postgres.folder)) process.kill(pid, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  return teardown
}

function givenServer() {
  const given = givenRedis()
  return given && { ...given, stop: async () => {} }
}
