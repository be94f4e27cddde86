/** Attempts in the course of time: drawn by uPlot, which is loaded for it alone; the same figures stand below as a table. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Series } from '../wire.ts'
import { get } from './api.ts'
import { Problem, Time, useRead, Waiting } from './parts.tsx'
import { amount, duration } from './words.ts'

const PERIODS = ['1h', '24h', '30d'] as const
const WORDS: Readonly<Record<Series['periodo'], { label: string; each: string }>> = {
  '1h': { label: '1 hora', each: 'minuto' },
  '24h': { label: '24 horas', each: 'hora' },
  '30d': { label: '30 días', each: 'día' },
}
const LINES = [
  ['exitosos', 'aceptados', '--bien', []],
  ['reintentos', 'reintentos', '--aviso', [6, 4]],
  ['fallidos', 'fallidos', '--mal', [2, 3]],
] as const

export function Chart() {
  const [period, setPeriod] = useState<Series['periodo']>('24h')
  const { value, error, again } = useRead((signal) => get<Series>(`serie?periodo=${period}`, signal), [period])
  const { each } = WORDS[value?.periodo ?? period]
  const sent = value?.puntos.reduce((sum, { enviados }) => sum + enviados, 0) ?? 0
  const good = value?.puntos.reduce((sum, { exitosos }) => sum + exitosos, 0) ?? 0
  return (
    <section aria-label="Intentos en el tiempo">
      <header class="titulo">
        <h2>Intentos por {each}</h2>
        <div class="opciones">
          {PERIODS.map((name) => (
            <button
              key={name}
              type="button"
              class="chico"
              aria-pressed={period === name}
              onClick={() => setPeriod(name)}
            >
              {WORDS[name].label}
            </button>
          ))}
        </div>
        {sent > 0 && (
          <span class="tenue">
            {amount(sent)} intentos,{' '}
            {(((sent - good) / sent) * 100).toLocaleString('es-AR', { maximumFractionDigits: 1 })} % con error
          </span>
        )}
      </header>
      {error && <Problem error={error} again={again} />}
      {!value && !error && <Waiting what="los intentos" />}
      {value?.puntos.length === 0 && <p class="tenue">No hubo ningún intento en ese tiempo.</p>}
      {value && value.puntos.length > 0 && (
        <>
          <Drawing series={value} />
          <details>
            <summary>Las mismas cifras en una tabla</summary>
            <Figures series={value} />
          </details>
        </>
      )}
    </section>
  )
}

const MINUTE = 60_000
const STEPS: Readonly<Record<Series['periodo'], { step: number; count: number }>> = {
  '1h': { step: MINUTE, count: 60 },
  '24h': { step: 60 * MINUTE, count: 24 },
  '30d': { step: 24 * 60 * MINUTE, count: 30 },
}

/** Every step of the period: where there was nothing the line lies on the ground. */
function gridOf({ periodo, puntos }: Series) {
  const { step, count } = STEPS[periodo]
  const known = new Map(puntos.map((point) => [Date.parse(point.hora), point]))
  // Days begin where the server's do.
  const begins = periodo === '30d' ? Date.parse(puntos.at(-1)!.hora) : Math.floor(Date.now() / step) * step
  const last = begins + Math.max(0, Math.floor((Date.now() - begins) / step)) * step
  const grid = Array.from({ length: count + 1 }, (_, n) => {
    const at = last - (count - n) * step
    return { at, point: known.get(at) }
  })
  return { grid, from: grid[0]!.at, to: last }
}

function tick(at: Date, periodo: Series['periodo']): string {
  const text =
    periodo === '30d'
      ? ({ day: '2-digit', month: '2-digit' } as const)
      : ({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const)
  return at.toLocaleString('es-AR', text)
}

function Drawing({ series }: { series: Series }) {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    let gone = false
    let end = () => {}
    void import('uplot').then(({ default: UPlot }) => {
      const box = place.current
      if (gone || box === null) return
      const { grid, from, to } = gridOf(series)
      const colors = getComputedStyle(document.documentElement)
      const color = (name: string) => colors.getPropertyValue(name).trim()
      const axis = {
        stroke: color('--tenue'),
        grid: { stroke: color('--raya'), width: 1 },
        ticks: { show: false },
        font: '12px system-ui',
      }
      const plot = new UPlot(
        {
          width: box.clientWidth,
          height: 180,
          cursor: { y: false },
          scales: { x: { range: [from / 1000, to / 1000] } },
          legend: { live: false },
          axes: [
            {
              ...axis,
              space: 90,
              values: (_plot, times) => times.map((at) => tick(new Date(at * 1000), series.periodo)),
            },
            { ...axis, size: 64, values: (_plot, values) => values.map((n) => amount(n)) },
          ],
          series: [
            {},
            ...LINES.map(([, label, name, dash]) => ({
              label,
              stroke: color(name),
              width: 2,
              dash: [...dash],
              points: { show: series.puntos.length < 3 },
            })),
          ],
        },
        [grid.map(({ at }) => at / 1000), ...LINES.map(([key]) => grid.map(({ point }) => point?.[key] ?? 0))],
        box,
      )
      const fit = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 180 }))
      fit.observe(box)
      end = () => {
        fit.disconnect()
        plot.destroy()
      }
    })
    return () => {
      gone = true
      end()
    }
  }, [series])
  return <div ref={place} class="dibujo" aria-hidden="true" />
}

function Figures({ series }: { series: Series }) {
  return (
    <div class="tabla">
      <table>
        <thead>
          <tr>
            <th scope="col">Desde</th>
            {['Enviados', 'Aceptados', 'Reintentos', 'Fallidos', 'p95'].map((name) => (
              <th key={name} scope="col" class="numero">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {series.puntos.toReversed().map(({ hora, enviados, exitosos, reintentos, fallidos, p95 }) => (
            <tr key={hora}>
              <th scope="row">
                <Time at={hora} />
              </th>
              <td class="numero" data-nombre="enviados">
                {amount(enviados)}
              </td>
              <td class="numero" data-nombre="aceptados">
                {amount(exitosos)}
              </td>
              <td class="numero" data-nombre="reintentos">
                {amount(reintentos)}
              </td>
              <td class="numero" data-nombre="fallidos">
                {amount(fallidos)}
              </td>
              <td class="numero" data-nombre="p95">
                {p95 === null ? '-' : duration(p95)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
