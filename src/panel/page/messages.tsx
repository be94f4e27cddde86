/** The list: what the search found, newest first, in pages. */
import { useEffect, useState } from 'preact/hooks'
import type { Count, Listing, Row, SessionInfo } from '../wire.ts'
import { get } from './api.ts'
import { useLive } from './live.ts'
import { Empty, LiveSwitch, Problem, StateWord, Time, useRead, Waiting } from './parts.tsx'
import { go, keep, kept, type Place, restore, trail } from './router.ts'
import { Act } from './sheet.tsx'
import { amount } from './words.ts'

export function addressOf(q: string, after?: string): string {
  const query = new URLSearchParams({ ...(q ? { q } : {}), ...(after ? { despues: after } : {}) })
  return `mensajes${query.size > 0 ? `?${query}` : ''}`
}

export function Messages({ place, session }: { place: Place; session: SessionInfo }) {
  const q = place.query.get('q') ?? ''
  const after = place.query.get('despues') ?? ''
  const address = addressOf(q, after)
  const before = place.again ? kept<Listing>(address) : undefined
  const { value, error, again } = useRead(
    async (signal) => {
      const found = await get<Listing>(address, signal)
      keep(address, found)
      return found
    },
    [address],
    before,
  )
  const [fresh, setFresh] = useState(0)
  const live = useLive(after === '' ? `?${new URLSearchParams({ q })}` : null, (event, data) => {
    if (event === 'nuevas') setFresh((data as { cantidad: number }).cantidad)
  })
  const update = () => {
    setFresh(0)
    again()
  }
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  useEffect(() => setChosen(new Set()), [address])
  useEffect(() => {
    if (value) restore()
  }, [value])

  return (
    <main tabIndex={-1}>
      <header class="titulo">
        <h1>Mensajes</h1>
        {after === '' && <LiveSwitch live={live} />}
      </header>
      {value && <Chips listing={value} q={q} />}
      <div aria-live="polite">
        {fresh > 0 && (
          <button type="button" class="nuevas" onClick={update}>
            {fresh === 1 ? '1 nueva' : `${amount(fresh)} nuevas`} ↑
          </button>
        )}
      </div>
      {error ? (
        <Problem error={error} again={again} />
      ) : value ? (
        value.filas.length === 0 ? (
          <NothingFound listing={value} q={q} isPage={after !== ''} />
        ) : (
          <Table rows={value.filas} chosen={chosen} choose={setChosen} />
        )
      ) : (
        <Waiting what="las entregas" />
      )}
      {value && value.filas.length > 0 && <ActOn q={q} rows={value.filas} chosen={chosen} session={session} />}
      {value && <Pages listing={value} q={q} after={after} />}
    </main>
  )
}

function Chips({ listing, q }: { listing: Listing; q: string }) {
  return (
    <div class="condiciones">
      <ul class="fichas" aria-label="Condiciones de la búsqueda">
        {listing.chips.map(({ nombre, valor, palabra }) => (
          <li key={nombre} class="ficha">
            {palabra !== '' && (
              <a class="quitar" href={addressOf(without(q, palabra))} aria-label={`Quitar ${nombre}: ${valor}`}>
                ×
              </a>
            )}
            <span>
              {nombre}: {valor}
            </span>
          </li>
        ))}
        {listing.porOmision && <li class="ficha tenue">las últimas 24 horas</li>}
      </ul>
      {listing.filas.length > 0 && listing.filas[0]?.listener !== '' && <HowMany key={q} q={q} />}
    </div>
  )
}

/** Counted when it is asked for: of a year that takes a while. */
function HowMany({ q }: { q: string }) {
  const [text, setText] = useState('')
  const count = async () => {
    setText('contando…')
    try {
      const { cantidad } = await get<Count>(`cantidad?${new URLSearchParams({ q })}`)
      setText(cantidad === 1 ? '1 entrega' : `${amount(cantidad)} entregas`)
    } catch (error) {
      setText((error as Error).message)
    }
  }
  return (
    <span class="tenue" aria-live="polite">
      {text || (
        <button type="button" class="chico" onClick={count}>
          Contar
        </button>
      )}
    </span>
  )
}

function without(q: string, word: string): string {
  return q.replace(word, ' ').replace(/\s+/g, ' ').trim()
}

function NothingFound({ listing, q, isPage }: { listing: Listing; q: string; isPage: boolean }) {
  const times = listing.chips.filter(({ nombre }) => nombre === 'desde' || nombre === 'hasta')
  const timeless = times.reduce((text, { palabra }) => without(text, palabra), q)
  return (
    <Empty title={isPage ? 'No hay más.' : 'No se encontró nada.'}>
      <p>Se buscaron {listing.buscado}.</p>
      {!isPage && (
        <p class="acciones">
          <a class="boton" href={addressOf(`${timeless} 7d`.trim())}>
            Buscar en 7 días
          </a>
          <a class="boton" href={addressOf(`${timeless} 30d`.trim())}>
            En 30 días
          </a>
          <a class="boton" href={addressOf(`${timeless} 365d`.trim())}>
            En un año
          </a>
        </p>
      )}
    </Empty>
  )
}

function keyOf({ id, listener }: Row): string {
  return `${id} ${listener}`
}

function Table({
  rows,
  chosen,
  choose,
}: {
  rows: readonly Row[]
  chosen: ReadonlySet<string>
  choose: (keys: ReadonlySet<string>) => void
}) {
  const all = rows.every((row) => chosen.has(keyOf(row)))
  const toggle = (row: Row) => {
    const next = new Set(chosen)
    if (!next.delete(keyOf(row))) next.add(keyOf(row))
    choose(next)
  }
  return (
    <div class="tabla">
      <table>
        <thead>
          <tr>
            <th class="elegir">
              <input
                type="checkbox"
                aria-label="Elegir todas las de esta página"
                checked={all}
                onChange={() => choose(all ? new Set() : new Set(rows.map(keyOf)))}
              />
            </th>
            <th scope="col">Enviado</th>
            <th scope="col">Evento</th>
            <th scope="col">Listener</th>
            <th scope="col">Estado</th>
            <th scope="col" class="numero">
              Intentos
            </th>
            <th scope="col">Por qué</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} data-fila={keyOf(row)} aria-selected={chosen.has(keyOf(row))}>
              <td class="elegir">
                <input
                  type="checkbox"
                  aria-label={`Elegir ${row.evento} para ${row.listener}`}
                  checked={chosen.has(keyOf(row))}
                  onChange={() => toggle(row)}
                />
              </td>
              <td class="cuando">
                <a href={`mensajes/${encodeURIComponent(row.id)}`} class="abrir">
                  <Time at={row.creado} />
                </a>
              </td>
              <td class="evento" title={row.evento}>
                {row.evento}
              </td>
              <td class="listener" title={row.listener}>
                {row.listener}
              </td>
              <td class="estado">
                <StateWord state={row.estado} />
              </td>
              <td class="numero" data-nombre="intentos">
                {row.intentos}
              </td>
              <td class="motivo" title={row.motivo}>
                {row.motivo}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** On those chosen, and on all of the search. */
function ActOn({
  q,
  rows,
  chosen,
  session,
}: {
  q: string
  rows: readonly Row[]
  chosen: ReadonlySet<string>
  session: SessionInfo
}) {
  const entregas = rows.filter((row) => chosen.has(keyOf(row))).map(({ id, listener }) => [id, listener] as const)
  if (session.puede.length === 0 || rows.every(({ listener }) => listener === '')) return null
  return (
    <div class="obrar">
      <span class="botones">
        <span aria-live="polite">
          {entregas.length > 0 && `${entregas.length === 1 ? '1 elegida' : `${entregas.length} elegidas`}:`}
        </span>
        {entregas.length > 0 && (
          <>
            <Act asked={{ action: 'reenviar', entregas }} session={session} />
            <Act asked={{ action: 'descartar', entregas }} session={session} />
          </>
        )}
      </span>
      <span class="botones">
        <span class="tenue">todas las de la búsqueda:</span>
        <Act asked={{ action: 'reenviar', q }} session={session} />
        <Act asked={{ action: 'descartar', q }} session={session} />
      </span>
    </div>
  )
}

function Pages({ listing, q, after }: { listing: Listing; q: string; after: string }) {
  const before = trail()
  const older = () => go(addressOf(q, listing.siguiente ?? ''), { trail: [...before, after] })
  const newer = () => go(addressOf(q, before.at(-1) ?? ''), { trail: before.slice(0, -1) })
  if (after === '' && listing.siguiente === null) return null
  return (
    <nav class="paginas" aria-label="Páginas">
      <button type="button" disabled={after === ''} onClick={newer}>
        ← más nuevas
      </button>
      <button type="button" disabled={listing.siguiente === null} onClick={older}>
        más viejas →
      </button>
    </nav>
  )
}
