import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Secrets, visible } from '../../src/model/secrets.ts'

const SECRET = 'ñandú/9"+&x'
const utf8 = (text: string) => Buffer.from(text).toString('latin1')

describe('a secret is replaced in every form in which it travels', () => {
  test.each([
    ['plain', `antes ${SECRET} después`, 'antes *** después'],
    ['twice, side by side', SECRET + SECRET, '******'],
    ['JSON', JSON.stringify({ a: SECRET }), '{"a":"***"}'],
    ['JSON as PHP writes it', '{"a":"\\u00f1and\\u00fa\\/9\\"+&x"}', '{"a":"***"}'],
    ['JSON with capital escapes', '{"a":"\\u00F1and\\u00FA/9\\"+&x"}', '{"a":"***"}'],
    ['percent-encoded', `?a=${encodeURIComponent(SECRET)}&b`, '?a=***&b'],
    ['percent-encoded in small letters', `?a=${encodeURIComponent(SECRET).toLowerCase()}&b`, '?a=***&b'],
    ['a form', new URLSearchParams({ a: SECRET }).toString(), 'a=***'],
    ['a URL into which it was written', new URL(`http://h/?a=${SECRET}`).search, '?a=***'],
    ['its path', new URL(`http://h/${SECRET}`).pathname, '/***'],
    ['bytes read as Latin-1', utf8(`<${SECRET}>`), '<***>'],
    ['the value of a header in bytes', utf8(JSON.stringify(SECRET)), '"***"'],
  ])('%s', (_form, text, shown) => {
    expect(new Secrets(['otro secreto', SECRET]).hide(text)).toBe(shown)
  })

  test.each([0, 1, 2, 3, 17])('base64, %i bytes behind the beginning', (before) => {
    const encoded = Buffer.from(`${'u'.repeat(before)}${SECRET}:resto`).toString('base64')
    for (const text of [encoded, encoded.replaceAll('+', '-').replaceAll('/', '_'), encodeURIComponent(encoded)]) {
      const shown = new Secrets([SECRET]).hide(`Basic ${text}`)
      expect(shown).toContain('***')
      // What is left over at both ends decodes to nothing of it.
      for (const rest of shown.slice('Basic '.length).split('***'))
        expect(Buffer.from(decodeURIComponent(rest), 'base64').toString('latin1')).not.toMatch(/and|9"|&x/)
    }
  })

  test('what is too short to be told from ordinary text is not looked for', () => {
    expect(new Secrets(['', 'corto']).hide('corto')).toBe('corto')
  })

  test('the longer of two that begin alike, the beginning of one where a text was cut', () => {
    const secrets = new Secrets(['secreto-uno', 'secreto-uno-dos'])
    expect(secrets.hide('secreto-uno-dos y secreto-uno')).toBe('*** y ***')
    expect(secrets.hide('x secreto-u')).toBe('x secreto-u')
    expect(secrets.hide('x secreto-u', true)).toBe('x ***')
  })

  test('a body without any comes back as it is, bytes and all', () => {
    const bytes = Buffer.from([0xff, 0x00, 0x80, 0x61])
    expect(new Secrets([SECRET]).hideBytes(bytes)).toBe(bytes)
    const holding = Buffer.concat([bytes, Buffer.from(SECRET), bytes])
    expect(new Secrets([SECRET]).hideBytes(holding)).toEqual(Buffer.concat([bytes, Buffer.from('***'), bytes]))
  })

  test('a token is known from when it was obtained, and the oldest are forgotten', () => {
    const secrets = new Secrets([SECRET])
    for (let n = 0; n < 250; n++) {
      secrets.addToken(`token-${n}.`)
      expect(secrets.hide(`token-${n}. ${SECRET}`)).toBe('*** ***')
    }
    expect(secrets.hide('token-0. token-240.')).toBe('token-0. ***')
  })

  test('whatever surrounds it, no secret is left', () => {
    const value = fc.string({ minLength: 6, unit: 'grapheme' })
    fc.assert(
      fc.property(value, value, fc.string(), fc.string(), (one, other, before, after) => {
        fc.pre(!before.includes('*') && !after.includes('*') && !one.includes('*') && !other.includes('*'))
        const shown = new Secrets([one, other]).hide(before + one + after + other)
        expect(shown.includes(one) || shown.includes(other)).toBe(false)
      }),
    )
  })
})

describe('what could command a terminal is escaped', () => {
  test.each([
    ['an escape sequence', 'a\u001b[31mb', 'a\\u001b[31mb'],
    ['the C1 form of one', 'a\u009b31mb', 'a\\u009b31mb'],
    ['a bell, a carriage return, a deletion', 'a\u0007\rb\u007f', 'a\\u0007\\u000db\\u007f'],
    ['bidirectional controls', 'a\u202eb\u2066c\u200f\u061c', 'a\\u202eb\\u2066c\\u200f\\u061c'],
    ['line separators', 'a\u2028b', 'a\\u2028b'],
    ['line feeds and tabs stay', 'a\r\nb\tc', 'a\nb\tc'],
    ['letters stay', 'Área «ñandú» 日本 👩‍👩‍👧', 'Área «ñandú» 日本 👩‍👩‍👧'],
  ])('%s', (_what, text, shown) => expect(visible(text)).toBe(shown))

  test('JSON stays JSON with the same meaning', () => {
    const value = { a: 'x\u202e\u009b\u001b\u2028' }
    const text = visible(JSON.stringify(value))
    expect(text).toMatch(/^[\x20-\x7e]*$/)
    expect(JSON.parse(text)).toEqual(value)
  })
})
