import { expect, test } from 'vitest'
import type { Logger } from '../../src/worker/log.ts'
import { Outage } from '../../src/worker/outage.ts'

test('an outage that one part sees and another does not is one line, and is over when all that failed work again', () => {
  const lines: string[] = []
  const write = (_: object, text: string) => void lines.push(text)
  const outage = new Outage({ error: write, warn: write, info: write } as unknown as Logger, 'Redis')
  const [takes, looks] = [{}, {}]
  for (let time = 0; time < 10; time++) {
    outage.failed(new Error('WRONGTYPE'), takes)
    outage.worked(looks)
  }
  outage.failed(new Error('WRONGTYPE'), looks)
  outage.worked(takes)
  expect(lines).toHaveLength(1)
  outage.worked(looks)
  expect(lines).toHaveLength(2)
  expect(lines[1]).toContain('disponible otra vez')
})
