/** What was said, headers and bodies: of one request its own and the answer's, the same as a curl, and where the time went. */
import { useState } from 'preact/hooks'
import type { Attempt, Body, Exchange, Pairs } from '../wire.ts'
import { get } from './api.ts'
import { Copy, Problem, useRead, Waiting } from './parts.tsx'
import { bytes, duration } from './words.ts'

const TABS = ['Pedido', 'Respuesta', 'curl', 'Fases'] as const

export function ExchangePart({ address, cuerpo, attempt }: { address: string; cuerpo: string; attempt: Attempt }) {
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
            <HeaderRows pairs={value.pedidoCabeceras} />
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
            <HeaderRows pairs={value.respuestaCabeceras} />
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

export function HeaderRows({ pairs }: { pairs: Pairs }) {
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

export function BodyPart({ body, download }: { body: Body; download: string }) {
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
