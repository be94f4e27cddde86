/** The recipes of docs/panel.md, as they stand there: behind nginx and Apache, under a path, with the users of the web server. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blockText } from '../e2e/readme-blocks.ts'
import { spawnProgram } from '../support/cli.ts'
import { startPanel, Visitor } from '../support/panel.ts'
import { freePort } from '../support/ports.ts'
import { findProgram, peer } from '../support/programs.ts'
import { until } from '../support/until.ts'
import { expect, sharedWorldTest } from '../support/world.ts'

const test = sharedWorldTest()
const MODULES = '/usr/lib/apache2/modules'

interface Place {
  readonly folder: string
  readonly port: number
  /** The recipe, with this test's page and files. */
  readonly recipe: string
}

const SERVERS: readonly (readonly [string, 'nginx' | 'apache2', (place: Place) => string])[] = [
  [
    'página con nginx',
    'nginx',
    ({ folder, port, recipe }) => `daemon off; pid ${folder}/pid; error_log ${folder}/error.log;
${process.getuid?.() === 0 ? 'user www-data;' : ''} events {} http { access_log off;
${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
server { listen 127.0.0.1:${port}; server_name gestion.uni.edu.ar; ${recipe} } }`,
  ],
  [
    'página con apache',
    'apache2',
    ({ folder, port, recipe }) => `ServerRoot ${folder}
ServerName gestion.uni.edu.ar
PidFile ${folder}/pid
ErrorLog ${folder}/error.log
DefaultRuntimeDir ${folder}
Mutex file:${folder} default
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
Listen 127.0.0.1:${port}
${['mpm_event', 'authn_core', 'authn_file', 'authz_core', 'authz_user', 'auth_basic', 'proxy', 'proxy_http', 'headers']
  .filter((name) => existsSync(`${MODULES}/mod_${name}.so`))
  .map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`)
  .join('\n')}
${recipe}`,
  ],
]

for (const [block, program, configuration] of SERVERS) {
  const { missing, note } = peer(program)
  test.skipIf(missing)(`${block}: users, the path, the stream and the origin${note}`, async ({ world }) => {
    await world.createSchema()
    const ini = new Map<string, Record<string, string>>()
    for (const [, section, body] of blockText('la página detrás de un proxy')
      .replace('gestion.uni.edu.ar', '127.0.0.1')
      .matchAll(/^\[(.+)\]\n((?:[^[\n].*\n|\n)*)/gm))
      ini.set(
        section!,
        Object.fromEntries([...body!.matchAll(/^(\w+) = (.*)$/gm)].map(([, key, value]) => [key!, value!])),
      )
    for (const [section, settings] of ini) await world.set(section, settings)
    const folder = await mkdtemp(join(tmpdir(), 'resthooks-pagina-'))
    const page = await startPanel(world)
    const port = await freePort()
    try {
      await chmod(folder, 0o755)
      const recipe = blockText(block)
        .replaceAll('127.0.0.1:8580', new URL(page.url).host)
        .replace(/\/etc\/\w+\/resthooks\.htpasswd/, `${folder}/htpasswd`)
      const sha = (password: string) => `{SHA}${createHash('sha1').update(password).digest('base64')}`
      await writeFile(`${folder}/htpasswd`, `ana:${sha('de-ana')}\notro:${sha('de-otro')}\n`)
      await writeFile(`${folder}/conf`, configuration({ folder, port, recipe }))
      const args =
        program === 'nginx'
          ? ['-e', `${folder}/error.log`, '-p', folder, '-c', `${folder}/conf`]
          : ['-d', folder, '-f', `${folder}/conf`, '-DFOREGROUND']
      const server = spawnProgram(findProgram(program)!, args)
      try {
        const url = `http://127.0.0.1:${port}/resthooks/`
        const as = (user: string, more: Record<string, string> = {}) => ({
          headers: { authorization: `Basic ${btoa(`${user}:de-${user}`)}`, ...more },
        })
        const visitor = new Visitor(url)
        await until(
          () =>
            fetch(url).then(
              ({ status }) => status === 401,
              () => false,
            ),
          { what: program },
        )
        const index = await visitor.ask('', as('ana'))
        expect(index.text).toContain('<base href="/resthooks/">')
        const script = /src="(archivos\/app-\w+\.js)"/.exec(index.text)![1]!
        expect((await visitor.ask(script, as('ana'))).headers.get('cache-control')).toContain('immutable')
        const session = (user: string, more: Record<string, string> = {}) => visitor.ask('api/sesion', as(user, more))
        expect((await session('ana')).json).toMatchObject({ usuario: 'ana', rol: 'operacion', entrada: 'proxy' })
        // What the browser says of itself is replaced.
        expect((await session('otro', { 'x-remote-user': 'ana' })).status).toBe(401)
        expect((await session('ana', { origin: `https://127.0.0.1:${port}` })).status).toBe(200)
        expect((await session('ana', { origin: 'https://malo.example' })).status).toBe(403)

        // At once, not when a buffer is full.
        const stop = new AbortController()
        const stream = await fetch(`${url}api/vivo`, { ...as('ana'), signal: stop.signal })
        const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
        expect((await reader.read()).value).toContain('event: inicio')
        stop.abort()
      } finally {
        server.kill('SIGTERM')
        await server.waitExit()
      }
    } finally {
      await page.stop()
      await rm(folder, { recursive: true, force: true })
    }
  })
}
