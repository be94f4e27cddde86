/** One message: what became of it at each listener, every request on a time axis, and what was said. */
import { useEffect, useState } from 'preact/hooks'
import type { Attempt, Delivery, Message as MessageData, SessionInfo } from '../wire.ts'
import { get } from './api.ts'
import { BodyPart, ExchangePart, HeaderRows } from './exchange.tsx'
import { Copy, Problem, Sign, Time, useRead, Waiting } from './parts.tsx'
import { keep, kept, type Place, restore } from './router.ts'
import { Act } from './sheet.tsx'
import { duration, STATES } from './words.ts'

export function Message({ id, place, session }: { id: string; place: Place; session: SessionInfo }) {
  const address = `mensajes/${encodeURIComponent(id)}`
  const { value, error, again } = useRead(
    async (signal) => {
      const found = await get<MessageData>(address, signal)
      keep(address, found)
      return found
    },
    [address],
    place.again ? kept<MessageData>(address) : undefined,
  )
  useEffect(() => {
    if (value) restore()
  }, [value])
  if (error && !value) {
    return (
      <main tabIndex={-1}>
        <h1>
          Mensaje <code>{id}</code>
        </h1>
        <Problem error={error} again={again} />
      </main>
    )
  }
  if (!value) {
    return (
      <main tabIndex={-1}>
        <h1>Mensaje</h1>
        <Waiting what="el mensaje" />
      </main>
    )
  }
  // What is wrong or waits first: it is why somebody looks.
  const ordered = value.entregas.toSorted((a, b) => ORDER.indexOf(a.estado) - ORDER.indexOf(b.estado))
  const first = ordered.find(({ pedidos }) => pedidos.length > 0)?.listener
  const scale = roundUp(Math.max(1, ...value.entregas.flatMap(({ pedidos }) => pedidos.map((each) => each.duracion))))
  return (
    <main tabIndex={-1}>
      <header class="titulo">
        <h1>{value.evento || 'Mensaje'}</h1>
        <p class="resumen">{value.resumen}</p>
      </header>
      <p class="datos">
        <code class="id">{value.id}</code> <Copy text={value.id} label="Copiar id" />
      </p>
      <dl class="hechos">
        {value.creado && (
          <>
            <dt>enviado</dt>
            <dd>
              <Time at={value.creado} />
            </dd>
          </>
        )}
        {value.datos.map(([name, text]) => (
          <>
            <dt>{name}</dt>
            <dd>{text}</dd>
          </>
        ))}
      </dl>
      {ordered.map((delivery) => (
        <DeliveryPart
          key={delivery.listener}
          session={session}
          id={value.id}
          delivery={delivery}
          scale={scale}
          address={address}
          only={value.entregas.length === 1}
          axis={delivery.listener === first}
        />
      ))}
      <section aria-label="Contenido del mensaje">
        <h2>Contenido</h2>
        {value.cabeceras.length > 0 && <HeaderRows pairs={value.cabeceras} />}
        {value.cuerpo ? (
          <BodyPart body={value.cuerpo} download={`api/${address}/cuerpo`} />
        ) : (
          <p class="tenue">No se guarda (auditar_cuerpo = 0).</p>
        )}
      </section>
    </main>
  )
}

const ORDER: readonly Delivery['estado'][] = ['fallida', 'reintentando', 'pendiente', 'descartada', 'exitosa']

function DeliveryPart({
  session,
  id,
  delivery,
  scale,
  address,
  only,
  axis,
}: {
  session: SessionInfo
  id: string
  delivery: Delivery
  scale: number
  address: string
  only: boolean
  axis: boolean
}) {
  const { sign, tone } = STATES[delivery.estado]
  const last = delivery.pedidos.at(-1)
  const [open, setOpen] = useState<string | null>(only && last ? last.id : null)
  return (
    <section class="entrega" aria-label={`Entrega a ${delivery.listener}`} data-fila={delivery.listener}>
      <h2>
        <Sign tone={tone} sign={sign}>
          <a href={`listeners/${encodeURIComponent(delivery.listener)}`}>{delivery.listener}</a>
        </Sign>
        <span class="frase">{delivery.frase}</span>
        <span class="botones">
          {(delivery.estado === 'fallida' || delivery.estado === 'descartada') && (
            <Act small asked={{ action: 'reenviar', entregas: [[id, delivery.listener]] }} session={session} />
          )}
          {delivery.estado !== 'exitosa' && delivery.estado !== 'descartada' && (
            <Act small asked={{ action: 'descartar', entregas: [[id, delivery.listener]] }} session={session} />
          )}
          <Act small asked={{ action: 'probar', listener: delivery.listener, mensaje: id }} session={session} />
          {session.cuerpos && (
            <a class="boton chico" href={`api/${address}/evidencia/${encodeURIComponent(delivery.listener)}`} download>
              Evidencia
            </a>
          )}
        </span>
      </h2>
      {delivery.espera && <p class="espera-por">{delivery.espera}.</p>}
      {delivery.pedidos.length > 0 && (
        <>
          {axis && <Axis scale={scale} />}
          <ol class="pedidos">
            {delivery.pedidos.map((attempt) => (
              <li key={attempt.id}>
                <button
                  type="button"
                  class="pedido"
                  aria-expanded={open === attempt.id}
                  onClick={() => setOpen(open === attempt.id ? null : attempt.id)}
                >
                  <span class="numero">
                    {attempt.pedido > 1 ? `${attempt.numero}.${attempt.pedido}` : attempt.numero}
                  </span>
                  <Time at={attempt.inicio} />
                  <Bar attempt={attempt} scale={scale} />
                  <span class="dicho">
                    {duration(attempt.duracion)} · {attempt.frase}
                  </span>
                </button>
                {open === attempt.id && (
                  <ExchangePart
                    address={`${address}/pedidos/${encodeURIComponent(attempt.id)}`}
                    cuerpo={`api/${address}/cuerpo`}
                    attempt={attempt}
                  />
                )}
              </li>
            ))}
          </ol>
        </>
      )}
      {delivery.acciones.map(({ fecha, texto }) => (
        <p class="callback" key={fecha + texto}>
          <Time at={fecha} /> {texto}
        </p>
      ))}
      {delivery.callbacks.map(({ fecha, texto, bien }) => (
        <p class="callback" key={fecha + texto}>
          <Sign tone={bien ? 'bien' : 'mal'} sign={bien ? '✔' : '✘'}>
            <Time at={fecha} />
          </Sign>{' '}
          {texto}
        </p>
      ))}
    </section>
  )
}

const TICKS = 4

/** So that a quarter of it is a round figure, too. */
function roundUp(ms: number): number {
  const power = 10 ** Math.floor(Math.log10(ms))
  return [1, 2, 4, 8, 10].map((n) => n * power).find((each) => each >= ms) ?? ms
}

function Axis({ scale }: { scale: number }) {
  return (
    <>
      <p class="leyenda" aria-hidden="true">
        {[...Object.entries(PHASES), ['resto', 'f-resto'] as const].map(([name, texture]) => (
          <span key={name}>
            <svg width="12" height="12" role="presentation">
              <rect width="12" height="12" class={texture} />
            </svg>{' '}
            {name}
          </span>
        ))}
      </p>
      <div class="eje" aria-hidden="true">
        {Array.from({ length: TICKS + 1 }, (_, n) => (
          <span key={n}>{duration((scale * n) / TICKS)}</span>
        ))}
      </div>
    </>
  )
}

const PHASES: Readonly<Record<string, string>> = {
  DNS: 'f-dns',
  conexión: 'f-con',
  TLS: 'f-tls',
  'primer byte': 'f-srv',
}

/** To scale, each phase with its own texture; the same in words for whoever cannot see it. */
function Bar({ attempt, scale }: { attempt: Attempt; scale: number }) {
  const known = attempt.fases.reduce((sum, [, ms]) => sum + ms, 0)
  const parts = [...attempt.fases, ['resto', Math.max(0, attempt.duracion - known)] as const]
  const words = parts.filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${duration(ms)}`)
  let x = 0
  return (
    <svg class="barra" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label={words.join(', ')}>
      <title>{words.join(' · ')}</title>
      {parts.map(([name, ms]) => {
        const width = Math.max((ms / scale) * 1000, ms > 0 ? 4 : 0)
        const at = x
        x += width
        return <rect key={name} x={at} y={0} width={width} height={10} class={PHASES[name] ?? 'f-resto'} />
      })}
    </svg>
  )
}
