/** The start: what needs attention first, then the figures. */
import { useEffect } from 'preact/hooks'
import type { Home as HomeData, ListenerRow, ProblemRow, SessionInfo } from '../wire.ts'
import { get, trouble } from './api.ts'
import { Chart } from './chart.tsx'
import { useLive } from './live.ts'
import { addressOf } from './messages.tsx'
import { LiveSwitch, Problem, Sign, Time, useRead, Waiting } from './parts.tsx'
import { keep, kept, type Place, restore } from './router.ts'
import { Act } from './sheet.tsx'
import { amount, duration, shortTime, type Tone } from './words.ts'

const TONES: Readonly<Record<ProblemRow['gravedad'], Tone>> = { mal: 'mal', atencion: 'aviso', nota: 'espera' }
const VERDICTS: Readonly<Record<HomeData['veredicto'], { sign: string; tone: Tone }>> = {
  bien: { sign: '✔', tone: 'bien' },
  atencion: { sign: '!', tone: 'aviso' },
  mal: { sign: '✘', tone: 'mal' },
}

export function Home({ place, session }: { place: Place; session: SessionInfo }) {
  const { value, error, again, set } = useRead(
    async (signal) => {
      const found = await get<HomeData>('inicio', signal)
      keep('inicio', found)
      return found
    },
    [],
    place.again ? kept<HomeData>('inicio') : undefined,
  )
  const live = useLive('', (event, data) => {
    if (event === 'inicio') {
      set(data as HomeData)
      keep('inicio', data)
    } else if (event === 'corte') trouble(data as { falta: 'redis' | 'postgres'; aviso: string })
  })
  useEffect(() => {
    if (value) restore()
  }, [value === undefined])
  if (!value) {
    return (
      <main tabIndex={-1}>
        <h1>Inicio</h1>
        {error ? <Problem error={error} again={again} /> : <Waiting what="cómo está todo" />}
      </main>
    )
  }
  const { sign, tone } = VERDICTS[value.veredicto]
  const standing = (one: ListenerRow['situacion']) =>
    value.listeners.filter(
      ({ situacion, problema, configurado }) => configurado && problema === null && situacion === one,
    ).length
  const [failed, retried] = [standing('fallo'), standing('reintenta')]
  return (
    <main tabIndex={-1}>
      <header class="titulo">
        <h1>
          <Sign tone={tone} sign={sign} /> <span aria-live="polite">{headline(value)}</span>
        </h1>
        <LiveSwitch live={live} at={value.fecha} />
      </header>
      <p class="tenue">{value.resumen.split(' · ').slice(2).join(' · ')}</p>
      {value.problemas.length > 0 && <Problems rows={value.problemas} session={session} />}
      <p>
        {value.alDia.length > 0 ? (
          <Sign tone="bien" sign="✔">
            {amount(value.alDia.length)} al día
          </Sign>
        ) : null}{' '}
        {failed > 0 ? (
          <Sign tone="aviso" sign="·">
            {amount(failed)} {failed === 1 ? 'falló' : 'fallaron'}
          </Sign>
        ) : null}{' '}
        {retried > 0 ? (
          <Sign tone="espera" sign="~">
            {amount(retried)} {retried === 1 ? 'reintenta' : 'reintentan'}
          </Sign>
        ) : null}{' '}
        <a href="listeners">ver todos los listeners</a>
      </p>
      <Chart />
      <ul class="servicios">
        {value.servicios.map(({ nombre, dice, bien }) => (
          <li key={nombre}>
            <Sign tone={bien ? 'bien' : 'mal'} sign={bien ? '✔' : '✘'}>
              <strong>{nombre}</strong>
            </Sign>{' '}
            {dice}
          </li>
        ))}
      </ul>
      <Workers rows={value.workers} />
    </main>
  )
}

function headline({ problemas }: HomeData): string {
  const asking = problemas.filter(({ gravedad }) => gravedad !== 'nota').length
  if (asking === 0) return 'Nada pide atención'
  return asking === 1 ? '1 cosa pide atención' : `${amount(asking)} cosas piden atención`
}

function Problems({ rows, session }: { rows: readonly ProblemRow[]; session: SessionInfo }) {
  return (
    <ul class="problemas">
      {rows.map((row) => (
        <li key={row.quien + row.causa} data-fila={row.quien}>
          <Sign tone={TONES[row.gravedad]} sign={row.signo}>
            {row.listener === null ? (
              <strong>{row.quien}</strong>
            ) : (
              <a href={`listeners/${encodeURIComponent(row.listener)}`}>{row.quien}</a>
            )}
          </Sign>
          <div class="causa">
            {row.causa}
            {row.sigue && `; ${row.sigue.que} ${shortTime(row.sigue.cuando)}`}
            {row.desde && (
              <span class="tenue junto">
                {' '}
                desde <Time at={row.desde} /> (
                {duration(Math.max(0, Math.round((Date.now() - Date.parse(row.desde)) / 1000) * 1000))})
              </span>
            )}
          </div>
          <span class="cuantas">
            {row.esperan !== null &&
              row.esperan > 0 &&
              `${amount(row.esperan)} ${row.esperan === 1 ? 'espera' : 'esperan'}`}
            {row.listener !== null && row.fallidas > 0 && (
              <a href={addressOf(`listener:${row.listener} estado:fallida 30d`)}>
                {amount(row.fallidas)} {row.fallidas === 1 ? 'fallida' : 'fallidas'}
              </a>
            )}
          </span>
          <span class="ayuda">
            {row.listener !== null && (
              <>
                <Act small asked={{ action: 'probar', listener: row.listener }} session={session} />
                <Act
                  small
                  asked={{ action: row.pausado ? 'reanudar' : 'pausar', listener: row.listener }}
                  session={session}
                />
              </>
            )}
            <Help row={row} />
          </span>
        </li>
      ))}
    </ul>
  )
}

/** What no button beside it does. */
function Help({ row }: { row: ProblemRow }) {
  const { queHacer, orden, listener } = row
  const [, id] = /^ver (\S+)$/.exec(queHacer) ?? []
  if (id) return <a href={`mensajes/${encodeURIComponent(id)}`}>ver ese mensaje</a>
  if (queHacer === 'auditoria --sin-listener') return <a href={addressOf('sin:listener 7d')}>verlos</a>
  if (queHacer === '' || (listener !== null && /^(?:probar|reanudar|pausar) |auditoria /.test(queHacer))) return null
  if (/^(?:entradas|recuperar|verificar|iniciar-workers|descartar)\b/.test(queHacer)) return <code>{orden}</code>
  return <span class="tenue">{queHacer}</span>
}

function Workers({ rows }: { rows: HomeData['workers'] }) {
  if (rows.length === 0) return <p class="mal">Ningún worker en marcha.</p>
  return (
    <details>
      <summary>Workers ({rows.length})</summary>
      <div class="tabla">
        <table>
          <thead>
            <tr>
              <th scope="col">Worker</th>
              <th scope="col">Estado</th>
              <th scope="col">Desde</th>
              <th scope="col" class="numero">
                En curso
              </th>
              <th scope="col">Versión</th>
              <th scope="col">Configuración</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.nombre}>
                <th scope="row">{row.nombre}</th>
                <td>
                  <Sign tone={row.estado === 'vivo' ? 'bien' : 'mal'} sign={row.estado === 'vivo' ? '✔' : '✘'}>
                    {row.estado}
                  </Sign>
                </td>
                <td>
                  <Time at={row.desde} />
                </td>
                <td class="numero">{amount(row.enCurso)}</td>
                <td>{row.version}</td>
                <td>
                  <code>{row.configuracion}</code>
                  {row.distinta && <span class="aviso"> ≠ otra que la de los demás</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  )
}

/** How it stands, in a word and a sign. */
export function Standing({ row }: { row: ListenerRow }) {
  if (row.problema) {
    return (
      <Sign tone={TONES[row.problema.gravedad]} sign={row.problema.signo}>
        {row.pausado
          ? 'pausado'
          : row.problema.gravedad === 'mal'
            ? 'mal'
            : row.problema.gravedad === 'nota'
              ? 'espera'
              : 'atención'}
      </Sign>
    )
  }
  if (!row.configurado) {
    return (
      <Sign tone="espera" sign="·">
        inactivo
      </Sign>
    )
  }
  if (row.situacion === 'reintenta') {
    return (
      <Sign tone="espera" sign="~">
        reintenta
      </Sign>
    )
  }
  if (row.situacion === 'fallo') {
    return (
      <Sign tone="aviso" sign="·">
        falló
      </Sign>
    )
  }
  return (
    <Sign tone="bien" sign="✔">
      al día
    </Sign>
  )
}
