/**
 * docs/configurar.md is made of the table of settings: what each section takes is written there once. After a change of
 * `config/settings.ts`: `npm run docs`.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import {
  CLIENT,
  CONNECTION,
  DELIVERY,
  NAMED_SECTIONS,
  REQUEST,
  ROOT,
  type Section,
  SINGLE_SECTIONS,
} from '../../src/config/settings.ts'

const page = fileURLToPath(new URL('../../docs/configurar.md', import.meta.url))
/** The tables begin below it; what stands above is written by hand. */
const MARK = '<!-- De aquí en adelante, escrito por «npm run docs» a partir de src/config/settings.ts. -->\n'

function table(rows: Section): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
  const lines = Object.entries(rows).map(([key, { kind, default: value, says, variable, others = [], only = [] }]) => {
    const shown = value === null ? '' : kind.show(value)
    const variables = [variable, ...others].flatMap((name) => (name === undefined ? [] : [`\`${name}\``])).join(', ')
    const meaning = `${says}${only.length > 0 ? ` (con ${only.join(', ')})` : ''}`
    return `| \`${key}\` | ${shown === '' ? '' : `\`${cell(shown)}\``} | ${cell(meaning)} | ${cell(kind.accepted)} | ${variables} |`
  })
  return `| clave | por omisión | para qué | se acepta | variables |\n|---|---|---|---|---|\n${lines.join('\n')}\n`
}

const TITLES: Readonly<Record<string, string>> = {
  redis_config: 'Redis',
  auditoria: 'la base de auditoría',
  workers: 'los procesos de `iniciar-workers`',
  reintentos: 'cuándo se reintenta (`[reintentos NOMBRE]` define otra estrategia)',
  panel: 'la página web',
  cliente: 'un sistema al que se le habla',
  usuario: 'quién entra en la página',
}

/** In the order of the example file. */
function tables(): string {
  const { listener: _, ...named } = NAMED_SECTIONS
  const sections = { ...SINGLE_SECTIONS, ...named }
  const known = Object.entries(sections).filter(([, rows]) => rows !== CLIENT)
  return [
    `## Antes de la primera sección\n\n${table(ROOT)}`,
    ...known.map(([name, rows]) => `## \`[${heading(name)}]\`: ${TITLES[name]}\n\n${table(rows)}`),
    `## \`[cliente NOMBRE]\`: ${TITLES.cliente}\n\nCon las claves de \`[conexion]\` del \`cliente.ini\` de toba.\n\n${table(CLIENT)}`,
    `## \`[listener NOMBRE]\`: qué recibe, dónde y cómo\n\n${table(REQUEST)}`,
    `### Sus claves de conexión\n\nMandan sobre las del cliente: ${keys(CONNECTION)}.\n`,
    `### Cómo se le entrega\n\n${table(DELIVERY)}`,
  ].join('\n')
}

const keys = (rows: Section) =>
  Object.keys(rows)
    .map((key) => `\`${key}\``)
    .join(', ')
const heading = (name: string) => (name in SINGLE_SECTIONS ? name : `${name} NOMBRE`)

test('docs/configurar.md says what the table of settings says', async () => {
  const written = await readFile(page, 'utf8')
  const [above] = written.split(MARK)
  expect(written).toContain(MARK)
  await expect(`${above}${MARK}\n${tables()}`).toMatchFileSnapshot(page)
})
