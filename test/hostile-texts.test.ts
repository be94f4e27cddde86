// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${VAR} is the syntax under test
/** Texts made to be slow to read, at every door where others' texts or files come in: time grows with length, not with its square. */
import { expect, test } from 'vitest'
import { below } from '../src/config/client.ts'
import { interpolate, parseEnv } from '../src/config/env.ts'
import { parseIni, readValue } from '../src/config/ini.ts'
import { duration, host } from '../src/config/kinds.ts'
import { splitArguments } from '../src/config/listener-kinds.ts'
import { parseChallenges } from '../src/delivery/auth/digest.ts'
import { maskUrl } from '../src/delivery/mask.ts'
import { expandPath } from '../src/delivery/path.ts'
import { errorDetail } from '../src/delivery/trouble.ts'
import { isJsonType } from '../src/model/http.ts'
import { readEntry } from '../src/queue/entry.ts'

const N = 100_000
const NO_PROBLEMS = { add() {}, warn() {} } as never
const NO_VARIABLES = { get: () => null } as never
const many = (s: string) => s.repeat(N / s.length)
const cases: [string, () => unknown][] = [
  ['.env: blank lines', () => parseEnv('f', many('\n'), NO_PROBLEMS)],
  ['.env: blanks before a word', () => parseEnv('f', `${many(' ')}x`, NO_PROBLEMS)],
  ['.env: blanks after a name', () => parseEnv('f', `A${many(' ')}x`, NO_PROBLEMS)],
  ['.env: export', () => parseEnv('f', many('export '), NO_PROBLEMS)],
  ['.env: quotes that do not close', () => parseEnv('f', many('A="\n'), NO_PROBLEMS)],
  ['.env: escaped quotes', () => parseEnv('f', many("A='x\\'\n"), NO_PROBLEMS)],
  ['.env: one quote, many escapes', () => parseEnv('f', `A="${many('\\"')}`, NO_PROBLEMS)],
  ['.env: backticks', () => parseEnv('f', many('A=`\n'), NO_PROBLEMS)],
  ['.env: =', () => parseEnv('f', many('A='), NO_PROBLEMS)],
  ['.env: empty values', () => parseEnv('f', many('A=  \n'), NO_PROBLEMS)],
  ['.ini: blanks without =', () => parseIni('f', `a${many(' ')}x`, NO_PROBLEMS)],
  ['.ini: brackets', () => parseIni('f', many('['), NO_PROBLEMS)],
  ['.ini: blanks after a header', () => parseIni('f', `[a]${many(' ')}x`, NO_PROBLEMS)],
  ['.ini: lines without =', () => parseIni('f', many('a\n'), NO_PROBLEMS)],
  ['.ini: a quote that does not close', () => readValue(`"${many('\\"')}`)],
  ['.ini: escaped quotes', () => readValue(`"${many('\\"')}"`)],
  ['.ini: quotes in a bare value', () => readValue(`a${many(' "')}`)],
  ['.ini: quotes of both kinds', () => readValue(`a${many(` "'`)}`)],
  ['a host of colons', () => host.read([`${many(':')}x`])],
  ['a duration', () => duration(1, 2).read([`${many('1s ')}x`])],
  ['${ without }', () => interpolate(many('${'), NO_VARIABLES)],
  ['$env( without )', () => interpolate(many('$env('), NO_VARIABLES)],
  ['$env( with one )', () => interpolate(`${many('$env(')})`, NO_VARIABLES)],
  ['a variable and blanks', () => interpolate(`\${A${many(' ')}x}`, NO_VARIABLES)],
  ['arguments of exec:', () => splitArguments(many('"a" '))],
  ['quoted arguments of exec:', () => splitArguments(many(`a'b'`))],
  ['a path of slashes', () => below(`http://h/${many('/')}x`, 'v1')],
  ['a challenge of blanks', () => parseChallenges(`a${many(' ')}`)],
  ['a challenge with an open quote', () => parseChallenges(`a="${many('\\"')}`)],
  ['a challenge of quotes', () => parseChallenges(many('a="'))],
  ['a challenge of =', () => parseChallenges(many('a= '))],
  ['a challenge of commas', () => parseChallenges(many('a ,'))],
  ['a url of slashes', () => maskUrl(`http:${many('/')}`)],
  ['a url with many parameters', () => maskUrl(`http://h/?${many('a&')}`)],
  ['an address of words', () => maskUrl(`${many('a.')}@`)],
  ['an address of schemes', () => maskUrl(`${many('a://')}@`)],
  ['addresses inside addresses', () => maskUrl(many('?a='))],
  ['parameters without values', () => maskUrl(`${many('&a')}=`)],
  ['no url', () => maskUrl(many('a.'))],
  ['an error text of words', () => errorDetail(new Error(many('a.')))],
  ['an error text of schemes', () => errorDetail(new Error(many('a://')))],
  ['an error text of blanks', () => errorDetail(new Error(`${many(' ')}`))],
  [
    'a body of escapes',
    () => expandPath('{datos.a}', { id: '', event: '', body: Buffer.from(`{"a":"x","b":"${many('\\n')}"}`) }),
  ],
  [
    'a large body of escapes',
    () =>
      expandPath('{datos.a}', { id: '', event: '', body: Buffer.from(`{"a":"x","b":"${'\\n'.repeat(5_000_000)}"}`) }),
  ],
  [
    'a body of numbers',
    () => expandPath('{datos.a}', { id: '', event: '', body: Buffer.from(`{"a":"x","b":[${many('1,')}1]}`) }),
  ],
  [
    'a body that is one number',
    () => expandPath('{datos.a}', { id: '', event: '', body: Buffer.from(`{"a":"x","b":${many('1')}}`) }),
  ],
  [
    'an entry of escapes',
    () => readEntry(Buffer.from(`{"evento":"a","x":"${many('\\"')}","datos":[${many('"a",')}1]}`)),
  ],
  [
    'an entry of backslashes',
    () => readEntry(Buffer.from(`{"datos":{"a":"${many('\\\\')}"},"evento":"${many('\\"')}"}`)),
  ],
  ['an entry that repeats datos', () => readEntry(Buffer.from(`{${many('"datos":1,')}"evento":"a"}`))],
  ['an entry of brackets', () => readEntry(Buffer.from(`{"datos":${many('[')}${many(']')},"evento":"a"}`))],
  ['a type of +', () => isJsonType(`application/${many('+')}`)],
  ['a type of blanks', () => isJsonType(`${many(' ')}x`)],
]
// Where one of these was quadratic it took 12 seconds and more.
test.each(cases)('%s', (_name, read) => {
  const started = performance.now()
  try {
    read()
  } catch (error) {
    // Refused is as good as read; too deep for the stack is neither.
    expect(error).not.toBeInstanceOf(RangeError)
  }
  expect(performance.now() - started).toBeLessThan(3000)
})
