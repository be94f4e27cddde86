import { test as base, expect, inject } from 'vitest'
import { connectForever } from '../../src/queue/redis.ts'
import { until } from '../support/until.ts'

const test = base

const config = () => ({
  ...inject('redis'),
  username: null,
  password: null,
  db: 0,
  tls: false,
  ca: null,
  sentinels: [],
  sentinelMaster: null,
})

test('a subscriber whose connection is cut again as soon as it is back does not end the process', async () => {
  const unhandled: unknown[] = []
  const listen = (reason: unknown) => void unhandled.push(reason)
  const earlier = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', listen)
  const subscriber = connectForever(config(), () => {}, 'prueba')
  try {
    await until(() => subscriber.status === 'ready')
    await subscriber.subscribe('canal')
    let cuts = 0
    subscriber.on('ready', () => {
      if (cuts++ < 3) subscriber.stream.destroy()
    })
    subscriber.stream.destroy()
    await until(() => cuts > 3 && subscriber.status === 'ready')
    expect(unhandled).toEqual([])
  } finally {
    subscriber.disconnect()
    process.off('unhandledRejection', listen)
    for (const each of earlier) process.on('unhandledRejection', each)
  }
})
