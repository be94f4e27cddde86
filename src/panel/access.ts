/**
 * Who is there, and what they may do.
 *
 * Three doors: a key of one use that the command prints (only where nothing but this machine reaches the page and no user has a
 * password), a user's password, the header of a proxy at a named address. What the browser keeps is an opaque id in a cookie
 * that no script sees; the rest is in Redis, by its hash.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { getConnInfo } from '@hono/node-server/conninfo'
import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { Config } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { beginSession, endSession, type PanelSession, useSession } from '../queue/sessions.ts'
import { isLocal, refuse } from './guard.ts'
import { isPassword } from './passwords.ts'
import type { Sources } from './sources.ts'
import { ACTIONS, type Action, type Doors, type Role, type SessionInfo } from './wire.ts'

export interface Viewer {
  readonly usuario: string
  readonly rol: Role
  readonly cuerpos: boolean
  readonly entrada: SessionInfo['entrada']
  /** Where from. */
  readonly equipo: string
}

const RANK: Readonly<Record<Role, number>> = { lectura: 0, operacion: 1, administracion: 2 }

export function may(viewer: Pick<Viewer, 'rol'>, action: Action): boolean {
  return RANK[viewer.rol] >= RANK[ACTIONS[action]]
}

/** Which doors there are. */
export function doorsOf({ panel, users }: Config): Doors['puertas'] {
  const withPassword = [...users.values()].some(({ password }) => password !== null)
  const proxy = panel.proxy === null ? [] : (['proxy'] as const)
  if (withPassword) return ['clave', ...proxy]
  return proxy.length === 0 && isLocal(panel.address.host) ? ['llave'] : proxy
}

/** A session is asked for in Redis no more often than this; one that was ended elsewhere is over after it. */
const FRESH: Millis = 3_000
/** While Redis is away, those that were there a moment ago go on, to look at what Postgres has. */
const KNOWN = 500

export class Access {
  readonly #sources: Sources
  readonly #cookie: string
  readonly #guesses = new Guesses()
  /** Told to whoever runs the page. */
  readonly #newKey: (key: string) => void
  #key = ''
  /** Of sessions that a key of this process began. */
  readonly #process = randomBytes(12).toString('base64url')
  readonly #known = new Map<string, { session: PanelSession | null; at: number }>()

  constructor(sources: Sources, newKey: (key: string) => void) {
    const { instancia, proyecto } = sources.config
    this.#sources = sources
    this.#newKey = newKey
    // Cookies know no ports: two projects' pages on one machine have one name each.
    this.#cookie = `resthooks_${digest(`${instancia}:${proyecto}`).slice(0, 8)}`
    if (doorsOf(sources.config).includes('llave')) this.renewKey()
  }

  renewKey(): void {
    this.#key = randomBytes(24).toString('base64url')
    this.#newKey(this.#key)
  }

  /** Null: nobody. @throws what Redis does, where it does not answer and did not before */
  async viewer(c: Context): Promise<Viewer | null> {
    const { config } = this.#sources
    const named = this.#namedByProxy(c)
    if (named !== null) {
      const user = config.users.get(named)
      if (!user) return null
      return { usuario: named, rol: user.role, cuerpos: user.bodies, entrada: 'proxy', equipo: addressOf(c, config) }
    }
    const id = getCookie(c, this.#cookie)
    const session = id === undefined ? null : await this.#session(id)
    if (session === null) return null
    const { usuario, marca, equipo } = session
    if (doorsOf(config).includes('llave')) {
      if (marca !== this.#process) return null
      return { usuario, rol: 'administracion', cuerpos: true, entrada: 'llave', equipo }
    }
    const user = config.users.get(usuario)
    if (!user || user.password === null || marca !== digest(user.password)) return null
    return { usuario, rol: user.role, cuerpos: user.bodies, entrada: 'clave', equipo }
  }

  #namedByProxy(c: Context): string | null {
    const { proxy, userHeader } = this.#sources.config.panel
    if (proxy === null || peer(c) !== proxy) return null
    const name = c.req.header(userHeader)?.trim()
    return name ? name : null
  }

  async #session(id: string): Promise<PanelSession | null> {
    const hash = digest(id)
    const known = this.#known.get(hash)
    if (known && performance.now() - known.at < FRESH) return known.session
    try {
      const session = await useSession(this.#sources.queue, id)
      this.#remember(hash, session)
      return session
    } catch (error) {
      if (known?.session && known.session.hasta > Date.now()) return known.session
      throw error
    }
  }

  #remember(hash: string, session: PanelSession | null): void {
    this.#known.delete(hash)
    this.#known.set(hash, { session, at: performance.now() })
    if (this.#known.size > KNOWN) this.#known.delete(this.#known.keys().next().value!)
  }

  /** `POST api/entrar`: `{ llave }`, or `{ usuario, clave }`. */
  async enter(c: Context): Promise<Response> {
    const { config } = this.#sources
    const given = ((await c.req.json().catch(() => null)) ?? {}) as Readonly<Record<string, unknown>>
    const doors = doorsOf(config)
    const from = addressOf(c, config)
    const wait = this.#guesses.wait(from, String(given.usuario ?? ''))
    if (wait > 0)
      return refuse(c, 429, `Demasiados intentos: espere ${Math.ceil(wait / 60_000)} min y repita.`, { espera: wait })
    if (doors.includes('llave') && typeof given.llave === 'string') {
      if (!same(given.llave, this.#key)) {
        this.#guesses.count(from, '')
        return refuse(c, 401, 'Esa dirección ya se usó, o es de otro inicio del comando: use la última que imprimió.')
      }
      await this.#begin(c, { usuario: `${userInfo().username}@${hostname()}`, marca: this.#process, equipo: from })
      this.renewKey()
      return c.body(null, 204)
    }
    if (doors.includes('clave') && typeof given.usuario === 'string' && typeof given.clave === 'string') {
      const usuario = given.usuario.trim()
      const entry = config.users.get(usuario)?.password ?? null
      // Counted before it is looked at: many at once would all be.
      this.#guesses.count(from, usuario)
      if (given.clave.length > LONGEST_PASSWORD || !(await isPassword(given.clave, entry)) || entry === null) {
        return refuse(c, 401, 'El usuario o la clave no son correctos.')
      }
      this.#guesses.right(from, usuario)
      await this.#begin(c, { usuario, marca: digest(entry), equipo: from })
      return c.body(null, 204)
    }
    return refuse(c, 400, 'Falta el usuario o la clave.')
  }

  async #begin(c: Context, who: Pick<PanelSession, 'usuario' | 'marca' | 'equipo'>): Promise<void> {
    const id = randomBytes(32).toString('base64url')
    await beginSession(this.#sources.queue, id, who)
    setCookie(c, this.#cookie, id, this.#cookieOptions(c))
  }

  async leave(c: Context): Promise<Response> {
    const id = getCookie(c, this.#cookie)
    if (id !== undefined) {
      await endSession(this.#sources.queue, id)
      this.#remember(digest(id), null)
    }
    deleteCookie(c, this.#cookie, this.#cookieOptions(c))
    return c.body(null, 204)
  }

  #cookieOptions(c: Context) {
    const { prefix } = this.#sources.config.panel
    // Who lies about the header lies to themselves alone.
    const secure = c.req.header('x-forwarded-proto') === 'https'
    return { path: `${prefix}/`, httpOnly: true, sameSite: 'Strict', secure } as const
  }

  /** Of a 401. */
  doors(c: Context): Doors {
    const { config } = this.#sources
    const puertas = doorsOf(config)
    const named = this.#namedByProxy(c)
    if (named !== null) {
      return {
        puertas: ['proxy'],
        error: `«${named}» no tiene una sección [usuario …] en resthooks.ini: pídala a quien lo administra.`,
      }
    }
    return { puertas, error: puertas.includes('llave') ? BY_KEY : puertas.includes('clave') ? '' : BY_PROXY }
  }
}

const LONGEST_PASSWORD = 1_000
const BY_KEY = 'Para entrar, abra la dirección que imprimió «resthooks panel» en su terminal: vale una sola vez.'
const BY_PROXY = 'El servidor web por el que se llega no dijo quién es usted: entre por su dirección.'

function same(given: string, key: string): boolean {
  return timingSafeEqual(createHash('sha256').update(given).digest(), createHash('sha256').update(key).digest())
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

function peer(c: Context): string {
  return (getConnInfo(c).remote.address ?? '').replace(/^::ffff:/, '')
}

/** Whom the proxy names, else who is at the other end. */
function addressOf(c: Context, { panel }: Config): string {
  const direct = peer(c)
  const last = c.req.header('x-forwarded-for')?.split(',').at(-1)?.trim()
  return direct === panel.proxy && last ? last.slice(0, 64) : direct
}

const WINDOW: Millis = 15 * 60_000
/** Of one address for one name, of one address for all, of all for one name. */
const MOST = { pair: 5, address: 20, name: 50 }

/** Wrong passwords of the last quarter of an hour. */
class Guesses {
  readonly #wrong = new Map<string, number[]>()

  /** Ms until the next try is looked at; 0: now. */
  wait(address: string, name: string): Millis {
    const now = Date.now()
    return Math.max(
      ...keysOf(address, name).map(([key, most]) => {
        const times = (this.#wrong.get(key) ?? []).filter((at) => at > now - WINDOW)
        return times.length < most ? 0 : times[times.length - most]! + WINDOW - now
      }),
    )
  }

  count(address: string, name: string): void {
    const now = Date.now()
    for (const [key, most] of keysOf(address, name)) {
      const times = [...(this.#wrong.get(key) ?? []), now].slice(-most)
      this.#wrong.delete(key)
      this.#wrong.set(key, times)
    }
    for (const [key, times] of this.#wrong) {
      if ((times.at(-1) ?? 0) > now - WINDOW && this.#wrong.size < 10_000) break
      this.#wrong.delete(key)
    }
  }

  /** The last one was none. */
  right(address: string, name: string): void {
    const [[pair], ...others] = keysOf(address, name) as [[string, number], ...[string, number][]]
    this.#wrong.delete(pair)
    for (const [key] of others) this.#wrong.get(key)?.pop()
  }
}

function keysOf(address: string, name: string): [string, number][] {
  const short = name.slice(0, 64)
  return [
    [`${address} ${short}`, MOST.pair],
    [address, MOST.address],
    [`@${short}`, MOST.name],
  ]
}
