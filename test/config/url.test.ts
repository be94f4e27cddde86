import { expect, test } from 'vitest'
import { isLoopback, joinUrl } from '../../src/config/url.ts'

test.each([
  ['https://h/rest/', 'personas/1', 'https://h/rest/personas/1'],
  ['https://h/rest', 'personas/1', 'https://h/rest/personas/1'],
  ['https://h', 'personas', 'https://h/personas'],
  ['https://h/rest', '', 'https://h/rest'],
  ['https://h/rest', '/otra', 'https://h/otra'],
  ['https://h/rest', '../otra', 'https://h/otra'],
  ['https://h/rest?k=1', 'a', 'https://h/rest/a?k=1'],
  ['https://h/rest?k=1', 'a?b=2', 'https://h/rest/a?b=2'],
  ['https://h/rest', '?b=2', 'https://h/rest/?b=2'],
  ['https://h/rest', 'https://h/x', 'https://h/x'],
  ['https://h/rest', 'https://otro/x', null],
  ['https://h/rest', '//otro/x', null],
  ['https://h/rest', 'http://h/x', null],
  ['https://h/rest', 'https://u:p@h/x', null],
  ['https://h/rest', '\\\\otro\\x', null],
])('%s + %s → %s', (base, path, joined) => {
  expect(joinUrl(base, path)).toBe(joined)
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
