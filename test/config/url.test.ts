import { expect, test } from 'vitest'
import { below, isLoopback } from '../../src/config/client.ts'

test.each([
  ['https://h/rest/', 'https://h/rest/v1/'],
  ['https://h/rest', 'https://h/rest/v1/'],
  ['https://h', 'https://h/v1/'],
  ['https://h/rest?k=1', 'https://h/rest/v1/?k=1'],
])('%s has its version at %s', (base, versioned) => {
  expect(below(base, 'v1')).toBe(versioned)
})

test.each([
  ['http://localhost:1/', true],
  ['http://127.1.2.3/', true],
  ['http://[::1]/', true],
  ['http://2130706433/', true],
  ['http://10.0.0.1/', false],
  ['http://localhost.example/', false],
  ['http://127.0.0.1.example/', false],
])('%s is this machine: %s', (url, expected) => {
  expect(isLoopback(url)).toBe(expected)
})
