/** W3C Trace Context: what is valid, what is kept, what goes on. */
import { describe, expect, test } from 'vitest'
import {
  isTraceState,
  parseTrace,
  takeTrace,
  traceInWords,
  traceparentOf,
  withTrace,
  withTraceMembers,
} from '../../src/model/trace.ts'

const ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const GOOD = `00-${ID}-${SPAN}-01`

describe('traceparent', () => {
  test.for([
    [GOOD, 1],
    [`00-${ID}-${SPAN}-00`, 0],
    // Of the flags only what is known is passed on.
    [`00-${ID}-${SPAN}-ff`, 3],
    // A version to come may say more.
    [`cc-${ID}-${SPAN}-01-lo-que-sea`, 1],
    [`cc-${ID}-${SPAN}-01`, 1],
  ] as const)('%s', ([text, flags]) => {
    expect(parseTrace(text)).toEqual({ traceId: ID, spanId: SPAN, flags, state: null })
  })

  test.for([
    '',
    'x',
    `ff-${ID}-${SPAN}-01`,
    `00-${ID}-${SPAN}-01-`,
    `00-${ID}-${SPAN}-01-más`,
    `00-${ID.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${ID}-${'0'.repeat(16)}-01`,
    `00-${ID}-${SPAN}`,
    `00-${ID}-${SPAN}-1`,
    `cc-${ID}-${SPAN}-01.x`,
    ` ${GOOD}`,
    `${GOOD}\n`,
  ])('%j is none', (text) => {
    expect(parseTrace(text)).toBeNull()
  })
})

test.for([
  ['a=1', true],
  ['rojo=00f067aa0ba902b7,congo=t61rcWkgMzE', true],
  ['tenant@sistema=x, otro=1,', true],
  ['a/b_c-d*e=~!"#$%&\'()*+-./:;<>?@[]^_`{|}', true],
  ['', false],
  [',', false],
  ['a', false],
  ['A=1', false],
  ['a=1,a=2', false],
  ['a=b=c', false],
  ['a= ', false],
  ['a=ñ', false],
  ['a=1\r\nX-Otra: 1', false],
  [Array.from({ length: 32 }, (_, i) => `a${i}=1`).join(), true],
  [Array.from({ length: 33 }, (_, i) => `a${i}=1`).join(), false],
  [`a=${'x'.repeat(256)}`, true],
  [`a=${'x'.repeat(257)}`, false],
] as const)('tracestate %j', ([text, valid]) => {
  expect(isTraceState(text)).toBe(valid)
  expect(parseTrace(GOOD, text)?.state).toBe(valid ? text : null)
})

test('it is a header of the message like any other, whatever its case; a new one takes its place', () => {
  const headers = { 'X-A': '1', TraceParent: GOOD, tracestate: 'a=1' }
  expect(takeTrace(headers)).toEqual({ headers: { 'X-A': '1' }, parent: GOOD, state: 'a=1' })
  const plain = { 'X-A': '1' }
  expect(takeTrace(plain).headers).toBe(plain)
  expect(withTrace(headers, 'otro', null)).toEqual({ 'X-A': '1', traceparent: 'otro' })
  expect(traceparentOf({ traceId: ID, flags: 1 }, SPAN)).toBe(GOOD)
})

test('members of an envelope are kept whatever they are, and told', () => {
  expect(withTraceMembers({}, undefined, 'a=1')).toEqual({})
  expect(withTraceMembers({}, GOOD, null)).toEqual({ traceparent: GOOD })
  expect(withTraceMembers({ Traceparent: 'x' }, 7, {})).toEqual({ traceparent: '7', tracestate: '(objeto)' })
  expect(withTraceMembers({}, `\ud800${'x'.repeat(9000)}`, null).traceparent).toHaveLength(600)
  expect(traceInWords({})).toBeNull()
  expect(traceInWords({ traceparent: GOOD })).toBe(`traza ${ID}`)
  expect(traceInWords({ traceparent: GOOD, tracestate: '?' })).toBe(`traza ${ID} (tracestate no válido, no se reenvía)`)
  expect(traceInWords({ traceparent: 'x' })).toBe('traza no válida, no se reenvía: x')
})
