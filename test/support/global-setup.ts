/**
 * Builds the program once and starts one Redis and one Postgres for the whole run; each test takes its own namespace
 * and schema. `RESTHOOKS_PRUEBAS_REDIS=host:port` uses a Redis that runs already (Docker's, where there is no
 * redis-server).
 */
import type {} from 'vitest'
import type { TestProject } from 'vitest/node'
import { build } from '../../build.mjs'
import { startPostgres } from './postgres-server.ts'
import { startRedis } from './redis-server.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    redis: { host: string; port: number }
    postgres: { host: string; port: number; username: string; password: string }
  }
}

export default async function setup(project: TestProject) {
  const [redis, postgres] = await Promise.all([givenRedis() ?? startRedis(), startPostgres(), build()])
  project.provide('redis', { host: redis.host, port: redis.port })
  const { host, port, username, password } = postgres
  project.provide('postgres', { host, port, username, password })
  return async () => {
    await Promise.all([redis.stop(), postgres.stop()])
  }
}

function givenRedis() {
  const given = process.env.RESTHOOKS_PRUEBAS_REDIS
  if (!given) return null
  const [, host, port] = /^(.*):(\d+)$/.exec(given) ?? []
  if (!host) throw new Error(`RESTHOOKS_PRUEBAS_REDIS=${given}: se espera host:puerto`)
  return { host, port: Number(port), stop: async () => {} }
}
