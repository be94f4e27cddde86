/** The page: who is there, where it is, what is above and below every view. */
import { render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Doors, SessionInfo } from '../wire.ts'
import { get, lookAgain, onTrouble, post, Refused, type Trouble } from './api.ts'
import { DoneActions } from './done.tsx'
import { Home } from './home.tsx'
import { Listener, Listeners } from './listeners.tsx'
import { Login } from './login.tsx'
import { Message } from './message.tsx'
import { addressOf, Messages } from './messages.tsx'
import { Empty, Problem } from './parts.tsx'
import { forget, go, type Place, usePlace } from './router.ts'
import { Sheet } from './sheet.tsx'
import { ZONE, zoneOf } from './words.ts'

type Entrance = { readonly session: SessionInfo } | { readonly doors: Doors } | { readonly error: Error } | null

function App() {
  const [entrance, setEntrance] = useState<Entrance>(null)
  const place = usePlace()
  const enter = async () => {
    try {
      setEntrance({ session: await get<SessionInfo>('sesion') })
    } catch (error) {
      const refused = error instanceof Refused && error.status === 401
      setEntrance(refused ? { doors: error.body as Doors } : { error: error as Error })
    }
  }
  useEffect(() => void enter(), [])
  useKeys()
  if (entrance === null) return null
  if ('error' in entrance) {
    return (
      <main tabIndex={-1}>
        <Problem error={entrance.error} again={enter} />
      </main>
    )
  }
  if ('doors' in entrance) return <Login doors={entrance.doors} entered={enter} />
  const leave = async () => {
    await post('salir')
    forget()
    await enter()
  }
  return (
    <>
      <a class="saltar" href="#contenido">
        Ir al contenido
      </a>
      <Top session={entrance.session} place={place} leave={leave} />
      <Troubles />
      <div id="contenido">
        <View place={place} session={entrance.session} />
      </div>
      <Sheet />
      <KeysHelp />
      <footer>
        resthooks {entrance.session.version} · horas de {ZONE} ({zoneOf(new Date())}) ·{' '}
        <button
          type="button"
          class="chico"
          onClick={() => document.querySelector<HTMLDialogElement>('#teclas')?.showModal()}
        >
          <kbd>?</kbd> teclas
        </button>
      </footer>
    </>
  )
}

function View({ place, session }: { place: Place; session: SessionInfo }) {
  const [first = '', second] = place.path.split('/').map(decodeURIComponent)
  if (first === 'mensajes' && second) return <Message key={second} id={second} place={place} session={session} />
  if (first === 'mensajes') return <Messages place={place} session={session} />
  if (first === 'acciones') return <DoneActions />
  if (first === 'listeners' && second) return <Listener key={second} name={second} place={place} session={session} />
  if (first === 'listeners') return <Listeners place={place} />
  if (first === '' || first === 'entrar') return <Home place={place} session={session} />
  return (
    <main tabIndex={-1}>
      <Empty title="No hay tal página.">
        <p>
          <a href="./">Ir al inicio</a>
        </p>
      </Empty>
    </main>
  )
}

const VIEWS = [
  ['', 'Inicio'],
  ['mensajes', 'Mensajes'],
  ['listeners', 'Listeners'],
  ['acciones', 'Acciones'],
] as const

function Top({ session, place, leave }: { session: SessionInfo; place: Place; leave: () => void }) {
  const input = useRef<HTMLInputElement>(null)
  const first = place.path.split('/')[0] ?? ''
  const q = first === 'mensajes' ? (place.query.get('q') ?? '') : ''
  useEffect(() => {
    if (input.current) input.current.value = q
  }, [q])
  const search = (event: Event) => {
    event.preventDefault()
    go(addressOf(input.current?.value.trim() ?? ''))
  }
  return (
    <header class="arriba">
      <a href="./" class="marca">
        resthooks{' '}
        <span class="tenue">
          {session.instancia}/{session.proyecto}
        </span>
      </a>
      <nav aria-label="Vistas">
        {VIEWS.map(([path, name]) => (
          <a key={path} href={path || './'} aria-current={first === path ? 'page' : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <search>
        <form onSubmit={search}>
          <input
            ref={input}
            type="search"
            name="q"
            aria-label="Buscar mensajes"
            placeholder="proveedor 7 estado:fallida ayer"
            autocomplete="off"
            spellcheck={false}
            maxLength={500}
          />
        </form>
      </search>
      <span class="quien">
        {session.usuario} · {session.rol}{' '}
        {session.entrada !== 'proxy' && (
          <button type="button" class="chico" onClick={leave}>
            Salir
          </button>
        )}
      </span>
    </header>
  )
}

/** What is away, on top; the rest stays usable. */
function Troubles() {
  const [troubles, setTroubles] = useState<readonly Trouble[]>([])
  useEffect(() => {
    onTrouble((what, text) =>
      setTroubles((known) => {
        const others = known.filter((each) => each.what !== what)
        return text === null ? (others.length === known.length ? known : others) : [...others, { what, text }]
      }),
    )
  }, [])
  const away = troubles.length > 0
  useEffect(() => {
    if (!away) return
    const timer = setInterval(() => void lookAgain(), 3000)
    return () => clearInterval(timer)
  }, [away])
  return (
    <div aria-live="polite">
      {troubles.map(({ what, text }) => (
        <p key={what} class="corte">
          {text}
        </p>
      ))}
    </div>
  )
}

const KEYS = [
  ['/', 'buscar'],
  ['j k ↓ ↑', 'fila siguiente, anterior'],
  ['Enter', 'abrir la fila'],
  ['x', 'elegir la fila'],
  ['r', 'reenviar las elegidas, o lo que se ve'],
  ['Esc', 'volver atrás'],
  ['?', 'esta ayuda'],
] as const

function KeysHelp() {
  return (
    <dialog id="teclas" aria-labelledby="teclas-titulo">
      <h2 id="teclas-titulo">Teclas</h2>
      <dl class="hechos">
        {KEYS.map(([key, does]) => (
          <>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{does}</dd>
          </>
        ))}
      </dl>
      <form method="dialog">
        <button type="submit">Cerrar</button>
      </form>
    </dialog>
  )
}

/** `/` search, `j` `k` rows, Enter open, `x` choose. */
function useKeys() {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return
      const target = event.target as HTMLElement
      if (event.key === 'Escape' && target instanceof HTMLInputElement && target.type !== 'checkbox')
        return target.blur()
      if (target.closest('input:not([type=checkbox]), textarea, select')) return
      // Wherever the focus is: what is open on top has the keys for itself.
      if (document.querySelector('dialog[open]')) return
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key]
      if (event.key === '/') document.querySelector<HTMLInputElement>('input[type=search]')?.focus()
      else if (step !== undefined) {
        if (!moveRow(step)) return
      } else if (event.key === 'x')
        target.closest('tr')?.querySelector<HTMLInputElement>('input[type=checkbox]')?.click()
      else if (event.key === '?') document.querySelector<HTMLDialogElement>('#teclas')?.showModal()
      else if (event.key === 'r') document.querySelector<HTMLElement>('[data-accion="reenviar"]')?.click()
      else if (event.key === 'Escape' && isDeep()) history.back()
      else return
      event.preventDefault()
    }
    document.addEventListener('keydown', pressed)
    return () => document.removeEventListener('keydown', pressed)
  }, [])
}

/** Where one comes to from a list; further back it would be out of the page. */
function isDeep(): boolean {
  return location.pathname.slice(new URL(document.baseURI).pathname.length).includes('/')
}

/** False: there is no row to go to. */
function moveRow(step: number): boolean {
  const rows = [...document.querySelectorAll<HTMLElement>('tbody [data-fila], tbody[data-fila]')]
  if (rows.length === 0) return false
  const at = rows.findIndex((row) => row.contains(document.activeElement))
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1)]!
  next.querySelector<HTMLElement>('a.abrir, a')?.focus()
  next.scrollIntoView({ block: 'nearest' })
  return true
}

render(<App />, document.getElementById('pagina')!)
