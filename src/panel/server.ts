/**
 * The page's server: every address, who may ask it, and what becomes of a failure.
 *
 * The document, its script and its style are the same for everybody and need no session; all that is known of messages comes
 * from `/api/…`, which needs one.
 */
import { createServer, type Server } from 'node:http'
import { serve } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Config } from '../config/config.ts'
import type { LoadOptions } from '../config/files.ts'
import { ConfigError, OperationFailed, systemReason, UsageError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { ping } from '../queue/redis.ts'
import { atMost } from '../worker/waiting.ts'
import { Access, doorsOf, may, type Viewer } from './access.ts'
import { Actions, isAction } from './actions.ts'
import { PageFiles } from './files.ts'
import { guard, literalOf, refuse } from './guard.ts'
import { done, home, listenerPage, series } from './home.ts'
import { Live } from './live.ts'
import { bytesOf, countOf, dumpOf, evidence, exchange, listing, message } from './messages.ts'
import { Sources, whoIsAway } from './sources.ts'
import { ACTIONS, type Action, type Asked, type SessionInfo } from './wire.ts'

interface PanelOptions {
  readonly config: Config
  readonly files: LoadOptions
  /** What is in force after a change of the files. */
  readonly load: () => Config
  /** Told to whoever runs it. */
  readonly note: (text: string) => void
  readonly version: string
}

interface Panel {
  readonly url: string
  close(): Promise<void>
}

type Env = { Variables: { viewer: Viewer } }

/** Of a request's body: nothing that a person types is longer. */
const LARGEST = 64 * 1024
/** Whoever sends slower, or holds more open, is no browser that somebody sits at. */
const LIMITS = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 30_000, maxHeaderSize: 16 * 1024 }
const CONNECTIONS = 512

/**
 * @throws ConfigError where others could reach it and nobody would be asked who he is
 * @throws OperationFailed where it cannot listen
 */
export async function openPanel(options: PanelOptions): Promise<Panel> {
  const { config, note } = options
  const { address, prefix } = config.panel
  if (doorsOf(config).length === 0) {
    throw new ConfigError(
      `La página atendería en ${literalOf(address.host)}:${address.port}, donde llegan otros, y no hay quien pueda entrar: ` +
        'defina un [usuario NOMBRE] con su clave (resthooks panel --clave), o el proxy que dice quién entró ([panel] proxy).',
    )
  }
  const url = `http://${literalOf(address.host)}:${address.port}${prefix}/`
  const sources = new Sources(config, options.files, options.load, note)
  const keyText = (key: string) => `Para entrar (una sola vez): ${url}entrar#llave=${key}`
  // After the port is ours.
  let waiting: string | null = ''
  const access = new Access(sources, (key) => {
    if (waiting === null) note(keyText(key))
    else waiting = key
  })
  const app = appOf(sources, access, options)
  const server = serve({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    createServer,
    serverOptions: LIMITS,
    hostname: address.host,
    port: address.port,
  }) as Server
  server.maxConnections = CONNECTIONS
  // Browsers and proxies keep theirs for later: whoever comes next is not kept out by those.
  server.on('drop', () => server.closeIdleConnections())
  const close = async () => {
    server.close()
    server.closeAllConnections()
    await sources.close()
  }
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      if (server.listening) resolve()
      else server.once('listening', resolve)
    })
  } catch (error) {
    await close()
    throw new OperationFailed(
      `No se puede atender en ${literalOf(address.host)}:${address.port}: ${systemReason(error) ?? (error as Error).message}.`,
    )
  }
  server.on('error', (error) => note(error.message))
  const keyLine = waiting ? `\n${keyText(waiting)}` : ''
  waiting = null
  note(`Página en ${url} (Ctrl-C termina)${keyLine}`)
  return { url, close }
}

function appOf(sources: Sources, access: Access, { note, version }: PanelOptions) {
  const { prefix } = sources.config.panel
  const files = new PageFiles()
  const live = new Live(sources, version, note)
  const actions = new Actions(sources, version)
  const app = new Hono<Env>().basePath(prefix)
  app.use(guard(() => sources.config))
  app.onError((error, c) => answerError(error, c, sources, note))

  app.get('/salud', (c) => health(c, sources))
  app.get('/archivos/:nombre', (c) => files.answer(c, c.req.param('nombre')) ?? refuse(c, 404, 'No hay tal archivo.'))

  const api = new Hono<Env>()
  api.use(bodyLimit({ maxSize: LARGEST, onError: (c) => refuse(c, 413, 'El pedido es demasiado largo.') }))
  api.post('/entrar', (c) => access.enter(c))
  api.post('/salir', (c) => access.leave(c))
  api.use(async (c, next) => {
    const viewer = await access.viewer(c)
    if (viewer === null) return c.json(access.doors(c), 401)
    c.set('viewer', viewer)
    await next()
    return undefined
  })
  api.get('/sesion', (c) => c.json(sessionInfo(c.var.viewer, sources.config, version)))
  api.get('/mensajes', async (c) =>
    c.json(await listing(sources, c.var.viewer, c.req.query('q') ?? '', c.req.query('despues'))),
  )
  api.get('/mensajes/:id', async (c) => {
    const found = await message(sources, c.var.viewer, c.req.param('id'))
    return found ? c.json(found) : refuse(c, 404, UNKNOWN)
  })
  api.get('/mensajes/:id/pedidos/:pedido', async (c) => {
    const found = await exchange(sources, c.var.viewer, c.req.param('id'), c.req.param('pedido'))
    return found ? c.json(found) : refuse(c, 404, UNKNOWN)
  })
  api.get('/mensajes/:id/evidencia/:listener', async (c) => {
    if (!c.var.viewer.cuerpos) return refuse(c, 403, NO_BODIES)
    const format = c.req.query('formato') === 'json' ? 'json' : 'texto'
    const { id, listener } = c.req.param()
    const text = await evidence(sources, version, id, listener, format)
    if (text === null) return refuse(c, 404, UNKNOWN)
    const name = `evidencia-${id}-${listener}`.replace(/[^\w.-]/g, '_')
    c.header('content-type', format === 'json' ? 'application/json' : 'text/plain; charset=utf-8')
    c.header('content-disposition', `attachment; filename="${name}.${format === 'json' ? 'json' : 'txt'}"`)
    return c.body(text)
  })
  api.get('/mensajes/:id/cuerpo', async (c) => {
    if (!c.var.viewer.cuerpos) return refuse(c, 403, NO_BODIES)
    const bytes = await bytesOf(sources, c.req.param('id'), c.req.query('pedido'))
    if (bytes === null) return refuse(c, 404, UNKNOWN)
    if (c.req.query('como') === 'bytes') return c.json({ texto: dumpOf(bytes, sources.config.secrets) })
    // Whatever it holds, a browser keeps it and does not open it.
    c.header('content-type', 'application/octet-stream')
    c.header('content-disposition', `attachment; filename="${c.req.param('id').replace(/[^\w.-]/g, '_')}.bin"`)
    return c.body(new Uint8Array(bytes))
  })
  api.get('/cantidad', async (c) => c.json(await countOf(sources, c.var.viewer, c.req.query('q') ?? '')))
  api.get('/serie', async (c) => c.json(await series(sources, c.req.query('periodo'))))
  api.get('/acciones', async (c) => c.json(await done(sources, c.req.query('despues'))))
  api.post('/previa', async (c) => {
    const asked = (await c.req.json().catch(() => null)) as Asked | null
    if (!isAction(asked?.action)) return refuse(c, 400, 'No hay tal acción.')
    if (!may(c.var.viewer, asked.action)) return refuse(c, 403, NOT_ALLOWED)
    return c.json(await actions.preview(c.var.viewer, asked))
  })
  api.post('/hacer', async (c) => {
    const { id, accion } = ((await c.req.json().catch(() => null)) ?? {}) as { id?: unknown; accion?: unknown }
    if (!isAction(accion) || typeof id !== 'string') return refuse(c, 400, 'No hay tal acción.')
    if (!may(c.var.viewer, accion)) return refuse(c, 403, NOT_ALLOWED)
    return c.json(await actions.begin(c.var.viewer, accion, id))
  })
  api.get('/tareas/:id', (c) => {
    const task = actions.task(c.var.viewer, c.req.param('id'))
    return task ? c.json(task) : refuse(c, 404, 'No hay tal tarea.')
  })
  api.get('/vivo', (c) => live.stream(c, () => access.viewer(c)))
  api.get('/inicio', async (c) => c.json(await home(sources, version)))
  api.get('/listeners/:nombre', async (c) => {
    const found = await listenerPage(sources, version, c.req.param('nombre'))
    return found ? c.json(found) : refuse(c, 404, 'No hay ningún listener de ese nombre.')
  })
  api.all('*', (c) => refuse(c, 404, 'No hay tal pedido.'))
  app.route('/api', api)

  app.get('*', (c) => files.index(c, prefix))
  return app
}

const UNKNOWN = 'La auditoría no tiene ese mensaje: puede no haberse escrito todavía, o haberlo borrado la purga.'
const NOT_ALLOWED = 'Su usuario no puede hacer eso: pídalo a quien administra.'
const NO_BODIES = 'Su usuario no ve lo que dicen los mensajes (ver_cuerpos = 0).'

function sessionInfo(viewer: Viewer, config: Config, version: string): SessionInfo {
  const { usuario, rol, cuerpos, entrada } = viewer
  const puede = (Object.keys(ACTIONS) as Action[]).filter((action) => may(viewer, action))
  const { instancia, proyecto } = config
  return {
    usuario,
    rol,
    puede,
    cuerpos,
    entrada,
    instancia,
    proyecto,
    version,
    listeners: [...config.listeners.keys()],
  }
}

/** Less than `salud` waits for all of it. */
const HEALTH_PATIENCE: Millis = 3_000

async function health(c: Context, sources: Sources) {
  const works = (work: Promise<unknown>) => {
    const answer = work.then(
      () => ({ ok: true }),
      () => ({ ok: false }),
    )
    return atMost(HEALTH_PATIENCE, answer, () => ({ ok: false }))
  }
  const [redis, postgres] = await Promise.all([works(ping(sources.queue.redis)), works(sources.audit.schemaVersion())])
  const estado = redis.ok && postgres.ok ? 'ok' : 'mal'
  const { instancia, proyecto } = sources.config
  return c.json({ estado, instancia, proyecto, redis, postgres }, estado === 'ok' ? 200 : 503)
}

/** What a person is told; a bug is told to whoever runs the page, too. */
function answerError(error: Error, c: Context, sources: Sources, note: (text: string) => void): Response {
  const { secrets } = sources.config
  const known = sources.explain(error)
  if (known === null) {
    note(`error interno, por favor infórmelo: ${error.stack ?? error.message}`)
    return refuse(c, 500, 'Error interno: quien administra la página lo ve en su terminal.')
  }
  const text = secrets.hide(known.message)
  if (known instanceof UsageError) return refuse(c, 422, text)
  if (known instanceof OperationFailed) return refuse(c, 409, text)
  return refuse(c, 503, text, { falta: whoIsAway(known).falta })
}
