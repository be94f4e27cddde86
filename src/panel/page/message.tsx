/** One message: what became of it at each listener, every request on a time axis, and what was said. */
import { useEffect, useState } from 'preact/hooks'
import type { Attempt, Body, Delivery, Exchange, Message as MessageData, Pairs, SessionInfo } from '../wire.ts'
import { get } from './api.ts'
import { Copy, Problem, Sign, Time, useRead, Waiting } from './parts.tsx'
import { keep, kept, type Place, restore } from './router.ts'
import { Act } from './sheet.tsx'
import { bytes, duration, STATES } from './words.ts'

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
        {value.cabeceras.length > 0 && <Headers pairs={value.cabeceras} />}
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

const TABS = ['Pedido', 'Respuesta', 'curl', 'Fases'] as const

function ExchangePart({ address, cuerpo, attempt }: { address: string; cuerpo: string; attempt: Attempt }) {
  const { value, error, again } = useRead((signal) => get<Exchange>(address, signal), [address])
  const [tab, setTab] = useState<(typeof TABS)[number]>('Respuesta')
  if (error) return <Problem error={error} again={again} />
  if (!value) return <Waiting what="el pedido y la respuesta" />
  const ofAnswer = `${cuerpo}?pedido=${encodeURIComponent(attempt.id)}`
  return (
    <div class="intercambio">
      <div role="tablist" aria-label="Qué se ve del intento" class="pestanas">
        {TABS.map((each) => (
          <button
            key={each}
            type="button"
            role="tab"
            aria-selected={tab === each}
            tabIndex={tab === each ? 0 : -1}
            onClick={() => setTab(each)}
            onKeyDown={(event) => turn(event, each, setTab)}
          >
            {each}
          </button>
        ))}
      </div>
      <div role="tabpanel" aria-label={tab}>
        {tab === 'Pedido' && (
          <>
            <p>
              <code>{value.linea}</code>
            </p>
            <Headers pairs={value.pedidoCabeceras} />
            {value.pedidoCuerpo && <BodyPart body={value.pedidoCuerpo} download={cuerpo} />}
          </>
        )}
        {tab === 'Respuesta' && (
          <>
            <p>
              {value.http === null ? (
                <span class="mal">{value.error ?? 'No hubo respuesta.'}</span>
              ) : (
                <strong>{value.http}</strong>
              )}
              {value.ip && <span class="tenue"> desde {value.ip}</span>}
            </p>
            <Headers pairs={value.respuestaCabeceras} />
            {value.respuestaCuerpo && value.respuestaCuerpo.bytes > 0 && (
              <BodyPart body={value.respuestaCuerpo} download={ofAnswer} />
            )}
            {value.truncada && <p class="tenue">Lo que sigue no se guardó (max_respuesta).</p>}
          </>
        )}
        {tab === 'curl' && (
          <>
            <p class="tenue">
              Las claves no están: donde dice *** va la suya. <Copy text={value.curl} />
            </p>
            <pre>{value.curl}</pre>
          </>
        )}
        {tab === 'Fases' && (
          <table class="angosta">
            <tbody>
              {attempt.fases.map(([name, ms]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td class="numero">{duration(ms)}</td>
                </tr>
              ))}
              <tr>
                <th scope="row">en total</th>
                <td class="numero">{duration(attempt.duracion)}</td>
              </tr>
              <tr>
                <th scope="row">worker</th>
                <td>{attempt.worker}</td>
              </tr>
            </tbody>
          </table>
        )}
      </div>
    </div>
  )
}

function turn(event: KeyboardEvent, tab: (typeof TABS)[number], set: (tab: (typeof TABS)[number]) => void) {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? TABS.length - 1 : 0
  if (step === 0) return
  event.preventDefault()
  event.stopPropagation()
  const next = TABS[(TABS.indexOf(tab) + step) % TABS.length]!
  set(next)
  const list = (event.currentTarget as HTMLElement).parentElement
  ;(list?.children[TABS.indexOf(next)] as HTMLElement | undefined)?.focus()
}

function Headers({ pairs }: { pairs: Pairs }) {
  return (
    <pre class="cabeceras">
      {pairs.map(([name, text], n) => (
        <span key={n}>
          <b>{name}</b>: {text}
          {'\n'}
        </span>
      ))}
    </pre>
  )
}

function BodyPart({ body, download }: { body: Body; download: string }) {
  const [dump, setDump] = useState<string | null>(null)
  const [problem, setProblem] = useState<Error | null>(null)
  const show = async () => {
    if (dump !== null) return setDump(null)
    try {
      const path = `${download.slice('api/'.length)}${download.includes('?') ? '&' : '?'}como=bytes`
      setDump((await get<{ texto: string }>(path)).texto)
    } catch (error) {
      setProblem(error as Error)
    }
  }
  return (
    <div class="cuerpo">
      <p class="tenue barra-cuerpo">
        <span>
          {bytes(body.bytes)} · {body.tipo} · sha256{' '}
          <code title={body.sha256}>{`${body.sha256.slice(0, 6)}…${body.sha256.slice(-4)}`}</code>
        </span>
        {!body.oculto && (
          <>
            <Copy text={body.sha256} label="Copiar sha256" />
            {body.texto !== null && <Copy text={body.texto} label="Copiar texto" />}
            <button type="button" class="chico" aria-pressed={dump !== null} onClick={show}>
              {dump === null ? 'Ver bytes' : 'Ver texto'}
            </button>
            <a class="boton chico" href={download} download>
              Descargar
            </a>
          </>
        )}
      </p>
      {problem && <Problem error={problem} />}
      {body.oculto ? (
        <p class="tenue">Su usuario no ve lo que dice (ver_cuerpos = 0).</p>
      ) : dump !== null ? (
        <pre>{dump}</pre>
      ) : body.texto === null ? (
        <p class="tenue">No es texto: véalo como bytes, o descárguelo.</p>
      ) : (
        <pre>{body.texto}</pre>
      )}
      {body.cortado && <p class="tenue">Sigue: descárguelo para verlo entero.</p>}
    </div>
  )
}
