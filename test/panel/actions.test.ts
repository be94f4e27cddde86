/** What the page answers and does, asked by HTTP as its browser part asks: every action by every role, not by button. */
import { afterAll } from 'vitest'
import type { Asked, Exchange, Home, Listing, Message, Preview, Task } from '../../src/panel/wire.ts'
import { type RunningPanel, startPanel, Visitor } from '../support/panel.ts'
import { until } from '../support/until.ts'
import { expect, sharedWorldTest, type World } from '../support/world.ts'
import { cheapEntry } from './entry.ts'

const test = sharedWorldTest()

const SECRET = 'la-clave-de-mapuche'
const ROLES = ['lectura', 'operacion', 'administracion'] as const
const ALLOWED: Readonly<Record<Asked['action'], readonly string[]>> = {
  reenviar: ['operacion', 'administracion'],
  pausar: ['operacion', 'administracion'],
  reanudar: ['operacion', 'administracion'],
  probar: ['operacion', 'administracion'],
  descartar: ['administracion'],
}

let running: Promise<RunningPanel> | null = null

/** The project, its worker and its page, once for all of the file. */
async function page(world: World): Promise<Readonly<Record<(typeof ROLES)[number], Visitor>>> {
  running ??= (async () => {
    for (const role of ROLES) await world.set(`usuario ${role}`, { clave: cheapEntry(role), rol: role })
    await world.set('usuario lectura', { ver_cuerpos: 0 })
    await world.listener(() => ({ status: 201, body: '{"ok":1.0}' }), { nombre: 'contable' })
    await world.listener(
      ({ headers }) => ({
        status: 422,
        body: `{"recibido":"${headers.authorization}"}`,
        headers: { 'set-cookie': 'a=1' },
      }),
      { nombre: 'mapuche', eventos: 'legajo.*', auth_tipo: 'bearer', auth_token: SECRET },
    )
    await world.worker()
    return startPanel(world)
  })()
  const { url } = await running
  const visitors = await Promise.all(
    ROLES.map(async (role) => {
      const visitor = new Visitor(url)
      expect((await visitor.post('api/entrar', { usuario: role, clave: role })).status).toBe(204)
      return [role, visitor] as const
    }),
  )
  return Object.fromEntries(visitors) as Record<(typeof ROLES)[number], Visitor>
}

afterAll(async () => (await running)?.stop())

async function ended(visitor: Visitor, { id }: Task): Promise<Task> {
  return until(
    async () => {
      const { json } = await visitor.ask<Task>(`api/tareas/${id}`)
      return json.estado === 'en curso' ? undefined : json
    },
    { what: 'the end of the task' },
  )
}

async function does(visitor: Visitor, asked: Asked): Promise<Task> {
  const preview = await visitor.post<Preview>('api/previa', asked)
  expect(preview.status, preview.text).toBe(200)
  const task = await visitor.post<Task>('api/hacer', { id: preview.json.id, accion: asked.action })
  expect(task.status, task.text).toBe(200)
  return ended(visitor, task.json)
}

test('every action by every role', async ({ world }) => {
  const visitors = await page(world)
  const id = await world.send('legajo.alta', { legajo: 1 })
  await world.settled(id)
  const asked: Readonly<Record<Asked['action'], Asked>> = {
    reenviar: { action: 'reenviar', q: 'legajo.alta' },
    descartar: { action: 'descartar', q: 'legajo.alta' },
    pausar: { action: 'pausar', listener: 'contable' },
    reanudar: { action: 'reanudar', listener: 'contable' },
    probar: { action: 'probar', listener: 'contable' },
  }
  const stranger = new Visitor((await running)!.url)
  for (const action of Object.keys(ALLOWED) as Asked['action'][]) {
    expect((await stranger.post('api/previa', asked[action])).status).toBe(401)
    const shown = await visitors.administracion.post<Preview>('api/previa', asked[action])
    for (const role of ROLES) {
      const may = ALLOWED[action].includes(role)
      const preview = await visitors[role].post<Preview>('api/previa', asked[action])
      expect(preview.status, `${action} ${role}`).toBe(may ? 200 : 403)
      // Another's number is nobody's, and one action's is no other's.
      const own = role === 'administracion'
      const given = await visitors[role].post('api/hacer', {
        id: own ? preview.json.id : shown.json.id,
        accion: own ? 'probar' : action,
      })
      expect(given.status, `${action} ${role}`).toBe(!may ? 403 : own && action === 'probar' ? 200 : 409)
    }
  }
  for (const path of [
    'inicio',
    'mensajes',
    `mensajes/${id}`,
    'listeners/contable',
    'acciones',
    'serie',
    'cantidad',
    'vivo',
    'tareas/x',
  ])
    expect((await stranger.ask(`api/${path}`)).status, path).toBe(401)
})

test('what is shown is what is done: a count that changed stops it, nothing acts on nothing, the audit keeps who', async ({
  world,
}) => {
  const { operacion, administracion } = await page(world)
  const ids = [await world.send('legajo.baja', { legajo: 2 }), await world.send('legajo.baja', { legajo: 3 })]
  await world.settled(ids)
  const asked: Asked = { action: 'reenviar', q: 'legajo.baja mapuche' }
  const { json: preview } = await operacion.post<Preview>('api/previa', asked)
  expect(preview).toMatchObject({ cantidad: 2, porListener: [{ listener: 'mapuche', cantidad: 2 }] })
  expect(preview.orden).toMatch(
    /^resthooks reenviar --evento legajo\.baja --listener mapuche --estado fallida,descartada --desde \S+ --hasta \S+$/,
  )
  expect(preview.primeras.map(({ estado }) => estado)).toEqual(['fallida', 'fallida'])

  // One of the two goes before it is confirmed, and waits.
  await does(operacion, { action: 'pausar', listener: 'mapuche' })
  const first = await does(administracion, { action: 'reenviar', entregas: [[ids[0]!, 'mapuche']] })
  expect(first).toMatchObject({ estado: 'terminada', texto: 'Entregas reenviadas: 1.', hechas: 1 })
  const late = await operacion.post<Task>('api/hacer', { id: preview.id, accion: 'reenviar' })
  const refused = await ended(operacion, late.json)
  expect(refused).toMatchObject({
    estado: 'falló',
    texto: 'No se hizo nada: eran 2 entregas y ahora son 1. Mire otra vez cuáles, y confirme.',
  })
  await does(operacion, { action: 'reanudar', listener: 'mapuche' })
  await world.settled(ids)

  const nothing = await operacion.post<Preview>('api/previa', { action: 'reenviar', q: 'legajo.baja contable' })
  expect(nothing.json.cantidad).toBe(0)
  expect((await operacion.post('api/hacer', { id: nothing.json.id, accion: 'reenviar' })).status).toBe(409)
  expect((await operacion.post('api/previa', { action: 'reenviar' })).status).toBe(422)
  expect((await operacion.post('api/previa', { action: 'reenviar', q: 'estado:exitosa' })).status).toBe(422)
  expect((await operacion.post('api/previa', { action: 'pausar', listener: 'nadie' })).status).toBe(422)

  await does(operacion, { action: 'pausar', listener: 'contable' })
  expect((await world.cli(['estado'])).stdout).toContain('pausado por operacion@127.0.0.1')
  const held = await world.send('legajo.pausa', { legajo: 4 })
  await until(async () => (await world.audit(held)).length === 2, { what: 'its deliveries' })
  const { json: waiting } = await operacion.ask<Message>(`api/mensajes/${held}`)
  expect(waiting.entregas.find(({ listener }) => listener === 'contable')!.espera).toContain('pausado por operacion')
  expect(await does(administracion, { action: 'descartar', q: 'legajo.pausa contable' })).toMatchObject({
    texto: 'Entregas descartadas: 1.',
  })
  await does(operacion, { action: 'reanudar', listener: 'contable' })
  expect((await does(operacion, { action: 'probar', listener: 'contable' })).texto).toMatch(/^✔/)
  expect((await does(operacion, { action: 'probar', listener: 'mapuche', mensaje: held })).texto).toContain(
    'rechaza su contenido',
  )

  const done = await until(
    async () => {
      const { json } = await operacion.ask<{ filas: { quien: string; orden: string; cantidad: number }[] }>(
        'api/acciones',
      )
      const told = json.filas.some(({ orden }) => orden === 'resthooks reanudar contable')
      // An action is told when it begins, and again, with how many it touched, when it ends.
      const counted = json.filas.every(
        ({ orden, cantidad }) => !orden.startsWith('resthooks descartar') || cantidad > 0,
      )
      return told && counted ? json.filas : undefined
    },
    { what: 'the actions' },
  )
  expect(done.find(({ orden }) => orden.startsWith('resthooks descartar'))).toMatchObject({
    quien: 'administracion',
    filtro: expect.stringContaining('legajo.pausa'),
    cantidad: 1,
  })
})

test('what a message says reaches only those who may see it, and no secret reaches anybody', async ({ world }) => {
  const { operacion, lectura } = await page(world)
  const body = `{"cuit":12345678901234567890,"total":1.0,"total":1.00,"clave":"${SECRET}"}`
  const id = await world.send('legajo.secreto', body, ['--cabecera', 'X-Api-Key: una-clave-del-mensaje'])
  await world.settled(id)
  const { json: message, text } = await operacion.ask<Message>(`api/mensajes/${id}`)
  expect(message.cuerpo!.texto).toBe(
    '{\n  "cuit": 12345678901234567890,\n  "total": 1.0,\n  "total": 1.00,\n  "clave": "***"\n}',
  )
  const attempt = message.entregas.find(({ listener }) => listener === 'mapuche')!.pedidos[0]!
  expect(attempt.fases.map(([name]) => name)).toContain('primer byte')
  const of = `api/mensajes/${id}/pedidos/${encodeURIComponent(attempt.id)}`
  const { json: exchange, text: whole } = await operacion.ask<Exchange>(of)
  expect(exchange.respuestaCuerpo!.texto).toContain('Bearer ***')
  expect(exchange.curl).toMatch(/^curl -i -X POST http:\S+ \\\n {2}-H /)
  const bytes = await operacion.ask<{ texto: string }>(`api/mensajes/${id}/cuerpo?como=bytes`)
  expect(bytes.json.texto).toContain('00000000  7b 22 63 75')
  const file = await operacion.ask(`api/mensajes/${id}/cuerpo`)
  expect(file.headers.get('content-disposition')).toMatch(/^attachment/)
  for (const each of [text, whole, bytes.text, file.text, (await operacion.ask('api/listeners/mapuche')).text]) {
    expect(each).not.toContain(SECRET)
    expect(each).not.toContain('una-clave-del-mensaje')
    expect(each).not.toContain('scrypt:')
  }
  const hidden = await lectura.ask<Message>(`api/mensajes/${id}`)
  expect(hidden.json.cuerpo).toMatchObject({ texto: null, oculto: true })
  expect((await lectura.ask(of)).text).not.toContain('12345678901234567890')
  expect((await lectura.ask(`api/mensajes/${id}/cuerpo`)).status).toBe(403)
  // Nor by asking for it, piece by piece.
  for (const [q, found] of [
    ['12345678901', 0],
    ['legajo.secreto', 2],
    [`${id} secreto`, 2],
  ] as const) {
    const { json } = await lectura.ask<{ cantidad: number }>(`api/cantidad?${new URLSearchParams({ q })}`)
    expect(json.cantidad, q).toBe(found)
    expect((await lectura.ask<Listing>(`api/mensajes?${new URLSearchParams({ q })}`)).json.filas, q).toHaveLength(found)
  }
})

test('a command that is shown to be copied is one command, whatever another program called its message', async ({
  world,
}) => {
  const { operacion } = await page(world)
  const id = "a';$(reboot)`id`"
  await world.push({ id, evento: 'legajo.raro', datos: {} })
  await world.settled(id)
  const word = `'a'\\'';$(reboot)\`id\`'`
  const chosen = await operacion.post<Preview>('api/previa', { action: 'reenviar', entregas: [[id, 'mapuche']] })
  expect(chosen.json).toMatchObject({ cantidad: 1, orden: `resthooks reenviar ${word} --listener mapuche` })
  const searched = await operacion.post<Preview>('api/previa', { action: 'reenviar', q: `clave:"${id}"` })
  expect(searched.json.orden).toContain(`--clave ${word}`)
  expect((await world.cli(['ver', id])).stdout.replace(/\s+/g, ' ')).toContain(`reenviar ${word} --listener mapuche`)
})

test('a search finds words, is told apart from what it cannot be, and goes page by page', async ({ world }) => {
  const { operacion } = await page(world)
  const id = await world.send('proveedor.alta', { id: 7, nombre: 'Núñez' })
  const others = [await world.send('proveedor.alta', { id: 2017 }), await world.send('compra.alta', { proveedor: 7 })]
  await world.settled([id, ...others])
  const find = async (q: string) => (await operacion.ask<Listing>(`api/mensajes?${new URLSearchParams({ q })}`)).json
  expect(new Set((await find('proveedor 7')).filas.map((row) => row.id))).toEqual(new Set([id, others[1]]))
  expect((await find('proveedor.alta núñez')).filas.map((row) => row.id)).toEqual([id])
  const none = await find('proveedor 8 contable')
  expect(none).toMatchObject({
    filas: [],
    porOmision: true,
    buscado: 'entregas de contable que dicen «proveedor» y «8», en las últimas 24 horas',
  })
  for (const query of [
    'q=listener:nadie',
    'q=estado:rara',
    'q=desde:nunca',
    `q=${'x'.repeat(501)}`,
    'despues=x',
    'despues=W10',
  ])
    expect((await operacion.ask(`api/mensajes?${query}`)).status, query).toBe(422)
  expect((await operacion.ask('api/mensajes/01ARZ3NDEKTSV4RRFFQ69G5FAV')).status).toBe(404)

  await world.cli(['send', '--lote'], {
    input: Array.from({ length: 60 }, (_, n) => `{"evento":"pagina.alta","datos":${n}}`).join('\n'),
  })
  await until(
    async () => (await operacion.ask<{ cantidad: number }>('api/cantidad?q=pagina.alta')).json.cantidad === 60,
    { what: 'sixty' },
  )
  const first = await find('pagina.alta')
  const second = (await operacion.ask<Listing>(`api/mensajes?q=pagina.alta&despues=${first.siguiente}`)).json
  expect([first.filas.length, second.filas.length, second.siguiente]).toEqual([50, 10, null])
  expect(new Set([...first.filas, ...second.filas].map((row) => row.id)).size).toBe(60)
})

test('the stream tells how things are and what is new; of foreign pages it asks nothing', async ({ world }) => {
  const { lectura } = await page(world)
  const { url } = (await running)!
  const cookie = lectura.cookie
  expect((await lectura.ask('api/vivo', { headers: { origin: 'https://malo.example' } })).status).toBe(403)
  expect((await lectura.ask('api/vivo', { headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(403)
  const stop = new AbortController()
  const listen = async (path: string) => {
    const response = await fetch(new URL(path, url), { headers: { cookie }, signal: stop.signal })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    return { reader: response.body!.pipeThrough(new TextDecoderStream()).getReader(), text: '' }
  }
  const heard = async (stream: Awaited<ReturnType<typeof listen>>, event: string) => {
    while (!stream.text.includes(`event: ${event}\n`)) stream.text += (await stream.reader.read()).value ?? ''
    return JSON.parse(new RegExp(`event: ${event}\ndata: (.*)\n`).exec(stream.text)![1]!)
  }
  try {
    const [start, list] = [await listen('api/vivo'), await listen('api/vivo?q=vivo.alta')]
    expect((await heard(start, 'inicio')) as Home).toMatchObject({
      veredicto: expect.any(String),
      workers: [{ estado: 'vivo' }],
    })
    let sent = 0
    // The feed begins a moment after the stream.
    const sending = setInterval(() => void world.push({ id: `vivo-${sent++}`, evento: 'vivo.alta', datos: 1 }), 500)
    try {
      expect((await heard(list, 'nuevas')).cantidad).toBeGreaterThan(0)
    } finally {
      clearInterval(sending)
    }
  } finally {
    stop.abort()
  }
})

test('what takes the database longer than three seconds is left, with what to do about it', async ({ world }) => {
  const { lectura } = await page(world)
  const { sql, schema } = world
  await sql.unsafe(`ALTER TABLE ${schema}.accion RENAME TO accion_de_antes;
    CREATE VIEW ${schema}.accion AS SELECT a.* FROM pg_sleep(20), ${schema}.accion_de_antes a`)
  try {
    const late = await lectura.ask<{ error: string; falta?: string }>('api/acciones')
    expect(late.status).toBe(422)
    expect(late.json.error).toContain('más de 3 s')
    // It is no outage.
    expect(late.json.falta).toBeUndefined()
  } finally {
    await sql.unsafe(`DROP VIEW ${schema}.accion; ALTER TABLE ${schema}.accion_de_antes RENAME TO accion`)
  }
})
