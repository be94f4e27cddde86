/** A failover: two Redis and three Sentinels; the master is killed, and later the one that took its place. */

import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from '../../support/ports.ts'
import { type RedisServer, startRedis } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'
import type { Arena, ArenaOptions } from '../arena.ts'
import { atEnd } from '../program.ts'
import { type Fault, sleep } from './fault.ts'

const NAME = 'maestro'

interface Group {
  readonly servers: readonly [RedisServer, RedisServer]
  readonly sentinels: readonly number[]
  end(): Promise<void>
}

let group: Group | undefined

async function startGroup(): Promise<Group> {
  const first = await startRedis(['--appendfsync', 'always'])
  const second = await startRedis(['--appendfsync', 'always', '--replicaof', '127.0.0.1', String(first.port)])
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-caos-sentinel-'))
  const sentinels = await Promise.all([freePort(), freePort(), freePort()])
  const children = await Promise.all(
    sentinels.map(async (port, i) => {
      const file = join(folder, `sentinel-${i}.conf`)
      await writeFile(
        file,
        [
          `port ${port}`,
          'bind 127.0.0.1',
          `dir ${folder}`,
          `sentinel monitor ${NAME} 127.0.0.1 ${first.port} 2`,
          `sentinel down-after-milliseconds ${NAME} 1000`,
          `sentinel failover-timeout ${NAME} 3000`,
          '',
        ].join('\n'),
      )
      return spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' })
    }),
  )
  const end = atEnd(async () => {
    for (const child of children) child.kill('SIGKILL')
    await Promise.all([first.stop(), second.stop()])
    await rm(folder, { recursive: true, force: true })
  })
  const started: Group = { servers: [first, second], sentinels, end }
  const ready = async () => {
    const [replicas, others] = await asked(started, async (sentinel) => [
      (await sentinel.call('SENTINEL', 'REPLICAS', NAME)) as unknown[],
      (await sentinel.call('SENTINEL', 'SENTINELS', NAME)) as unknown[],
    ])
    return replicas!.length === 1 && others!.length === 2
  }
  await until(ready, { timeout: 30_000, every: 200, what: 'three Sentinels that know each other and the replica' })
  return started
}

async function asked<T>({ sentinels }: Group, question: (sentinel: Redis) => Promise<T>): Promise<T> {
  const sentinel = new Redis({ port: sentinels[0]!, host: '127.0.0.1', lazyConnect: true })
  sentinel.on('error', () => {})
  try {
    return await question(sentinel)
  } finally {
    sentinel.disconnect()
  }
}

async function masterPort(): Promise<number> {
  const [, port] = await asked(
    group!,
    (sentinel) => sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME) as Promise<[string, string]>,
  )
  return Number(port)
}

async function withSentinels(): Promise<ArenaOptions> {
  group = await startGroup()
  const sentinels = group.sentinels.map((port) => ({ host: '127.0.0.1', port }))
  return {
    redis: {
      connect: () =>
        new Redis({
          sentinels,
          name: NAME,
          lazyConnect: true,
          maxRetriesPerRequest: null,
          sentinelRetryStrategy: () => 100,
        }),
      // A foreign program that knows one server alone would write to a master that is none any more.
      port: () => 0,
      variables: {
        REST_HOOKS_REDIS_SENTINELS: sentinels.map(({ host, port }) => `${host}:${port}`).join(','),
        REST_HOOKS_REDIS_SENTINEL_MASTER: NAME,
      },
    },
  }
}

/** Replicas that are up, as the Sentinels see it. */
async function replicas(): Promise<number> {
  const all = await asked(group!, (sentinel) => sentinel.call('SENTINEL', 'REPLICAS', NAME) as Promise<string[][]>)
  return all.filter((fields) => {
    const of = (name: string) => fields[fields.indexOf(name) + 1]
    return of('flags') === 'slave' && of('master-link-status') === 'ok'
  }).length
}

async function follow(port: number, master: number): Promise<void> {
  const server = new Redis({ port, host: '127.0.0.1', lazyConnect: true })
  await server.replicaof('127.0.0.1', master)
  server.disconnect()
}

async function handedOver(from: number): Promise<void> {
  await until(async () => (await masterPort()) !== from, { timeout: 30_000, every: 100, what: 'the failover' })
}

export const sentinelFaults: readonly Fault[] = [
  {
    name: 'sentinel: kill -9 del maestro, y después el del nuevo',
    arena: withSentinels,
    traffic: { messages: 400, over: 8000 },
    patience: 90_000,
    inflict: async (arena: Arena) => {
      const { servers } = group!
      await sleep(arena.dice.between(800, 1500))
      arena.noteCrash(arena.workers.length)
      const [master, replica] = servers
      // Replication runs a moment behind its master: what is lost in that moment is Redis's, not ours.
      await arena.client.wait(1, 500)
      await master.kill('SIGKILL')
      await handedOver(master.port)
      arena.noteCrash(arena.workers.length)
      arena.healed()
      await until(() => arena.wire.requests.at(-1)!.at > arena.healedAt!, { what: 'a delivery after the failover' })
      // The old one comes back as a replica, and gets its place back.
      await master.start()
      await follow(master.port, replica.port)
      await until(async () => (await replicas()) === 1, {
        timeout: 30_000,
        every: 200,
        what: 'the old master as a replica',
      })
      await arena.client.wait(1, 2000)
      arena.noteCrash(arena.workers.length)
      // SENTINEL FAILOVER would not do: it lets the old master take writes until it is told, and forgets them.
      await replica.kill('SIGKILL')
      await handedOver(replica.port)
      arena.noteCrash(arena.workers.length)
      await sleep(1000)
      const { code, stderr } = await arena.cli(['send', 'pedido.alta', '{}'])
      if (code !== 0) throw new Error(`send after the failover exited ${code}: ${stderr}`)
    },
    end: async () => {
      await group?.end()
      group = undefined
    },
  },
]
