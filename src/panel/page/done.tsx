/** Who did what: the audit's own record. */
import { useState } from 'preact/hooks'
import type { DonePage } from '../wire.ts'
import { get } from './api.ts'
import { Empty, Problem, Time, useRead, Waiting } from './parts.tsx'
import { amount } from './words.ts'

export function DoneActions() {
  const [after, setAfter] = useState('')
  const { value, error, again } = useRead(
    (signal) => get<DonePage>(`acciones${after ? `?despues=${after}` : ''}`, signal),
    [after],
  )
  return (
    <main tabIndex={-1}>
      <h1>Acciones</h1>
      <p class="tenue">Qué hicieron las personas, desde esta página y desde la terminal; lo más nuevo primero.</p>
      {error && <Problem error={error} again={again} />}
      {!value && !error && <Waiting what="las acciones" />}
      {value?.filas.length === 0 && (
        <Empty title="Nadie hizo nada todavía.">
          <p>Aquí quedan los reenvíos, los descartes y las pausas, con quién los pidió.</p>
        </Empty>
      )}
      {value && value.filas.length > 0 && (
        <div class="tabla">
          <table>
            <thead>
              <tr>
                <th scope="col">Cuándo</th>
                <th scope="col">Quién</th>
                <th scope="col">Desde</th>
                <th scope="col" class="numero">
                  Entregas
                </th>
                <th scope="col">Qué</th>
              </tr>
            </thead>
            <tbody>
              {value.filas.map((row) => (
                <tr key={row.id} data-fila={row.id}>
                  <td class="cuando">
                    <Time at={row.fecha} />
                  </td>
                  <th scope="row">{row.quien}</th>
                  <td>{row.equipo}</td>
                  <td class="numero" data-nombre="entregas">
                    {amount(row.cantidad)}
                  </td>
                  <td class="orden">
                    <code>{row.orden}</code>
                    {row.filtro && <span class="tenue"> {row.filtro}</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <nav class="paginas" aria-label="Páginas">
        {after !== '' && (
          <button type="button" onClick={() => setAfter('')}>
            ← las más nuevas
          </button>
        )}
        {value?.siguiente && (
          <button type="button" onClick={() => setAfter(value.siguiente ?? '')}>
            más viejas →
          </button>
        )}
      </nav>
    </main>
  )
}
