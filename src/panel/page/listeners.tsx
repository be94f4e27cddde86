/** All listeners in a table, and one by itself: state, since when, why, what waits, the last errors. */
import { useEffect } from 'preact/hooks'
import type { Home, ListenerPage, SessionInfo } from '../wire.ts'
import { get } from './api.ts'
import { Standing } from './home.tsx'
import { addressOf } from './messages.tsx'
import { Empty, Problem, StateWord, Time, useRead, Waiting } from './parts.tsx'
import { keep, kept, type Place, restore } from './router.ts'
import { Act } from './sheet.tsx'
import { amount, duration } from './words.ts'

export function Listeners({ place }: { place: Place }) {
  const { value, error, again } = useRead(
    async (signal) => {
      const found = await get<Home>('inicio', signal)
      keep('listeners', found)
      return found
    },
    [],
    place.again ? kept<Home>('listeners') : undefined,
  )
  useEffect(() => {
    if (value) restore()
  }, [value])
  return (
    <main tabIndex={-1}>
      <h1>Listeners</h1>
      {error && <Problem error={error} again={again} />}
      {!value && !error && <Waiting what="los listeners" />}
      {value?.listeners.length === 0 && (
        <Empty title="No hay ningún listener.">
          <p>Se definen en resthooks.ini, cada uno en su sección [listener NOMBRE].</p>
        </Empty>
      )}
      {value && value.listeners.length > 0 && (
        <div class="tabla">
          <table>
            <thead>
              <tr>
                <th scope="col">Listener</th>
                <th scope="col">Estado</th>
                <th scope="col" class="numero">
                  En cola
                </th>
                <th scope="col" class="numero">
                  En curso
                </th>
                <th scope="col" class="numero">
                  Reintentos
                </th>
                <th scope="col" class="numero">
                  Fallidas
                </th>
                <th scope="col">Más antigua</th>
                <th scope="col">Por qué</th>
              </tr>
            </thead>
            <tbody>
              {value.listeners.map((row) => (
                <tr key={row.listener} data-fila={row.listener}>
                  <th scope="row" class="listener">
                    <a class="abrir" href={`listeners/${encodeURIComponent(row.listener)}`}>
                      {row.listener}
                    </a>
                  </th>
                  <td class="estado">
                    <Standing row={row} />
                  </td>
                  <Figure name="en cola" value={row.enCola} />
                  <Figure name="en curso" value={row.enCurso} />
                  <Figure name="reintentos" value={row.reintentos} />
                  <Figure name="fallidas" value={row.fallidas} />
                  <td class="estado">{row.masAntigua !== null && duration(row.masAntigua)}</td>
                  <td class="motivo" title={row.problema?.causa}>
                    {row.problema?.causa}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </main>
  )
}

function Figure({ name, value }: { name: string; value: number }) {
  return (
    <td class={`numero${value === 0 ? ' tenue cero' : ''}`} data-nombre={name}>
      {amount(value)}
    </td>
  )
}

export function Listener({ name, place, session }: { name: string; place: Place; session: SessionInfo }) {
  const address = `listeners/${encodeURIComponent(name)}`
  const { value, error, again } = useRead(
    async (signal) => {
      const found = await get<ListenerPage>(address, signal)
      keep(address, found)
      return found
    },
    [address],
    place.again ? kept<ListenerPage>(address) : undefined,
  )
  useEffect(() => {
    if (value) restore()
  }, [value])
  if (!value) {
    return (
      <main tabIndex={-1}>
        <h1>{name}</h1>
        {error ? <Problem error={error} again={again} /> : <Waiting what="el listener" />}
      </main>
    )
  }
  const { problema } = value
  return (
    <main tabIndex={-1}>
      <header class="titulo">
        <h1>{value.listener}</h1>
        <Standing row={value} />
        <span class="botones">
          <Act asked={{ action: 'probar', listener: name }} session={session} />
          <Act asked={{ action: value.pausado ? 'reanudar' : 'pausar', listener: name }} session={session} />
          {value.fallidas > 0 && (
            <Act
              asked={{ action: 'reenviar', q: `listener:${name} estado:fallida 365d` }}
              session={session}
              label={`Reenviar ${amount(value.fallidas)}`}
            />
          )}
        </span>
      </header>
      {problema && (
        <p>
          {problema.causa}
          {problema.sigue && (
            <>
              ; {problema.sigue.que} <Time at={problema.sigue.cuando} />
            </>
          )}
          {problema.desde && (
            <>
              , desde <Time at={problema.desde} />
            </>
          )}
          .
        </p>
      )}
      <dl class="cifras">
        {(
          [
            ['en cola', value.enCola, 'pendiente'],
            ['en curso', value.enCurso, null],
            ['reintentos', value.reintentos, 'reintentando'],
            ['fallidas', value.fallidas, 'fallida'],
          ] as const
        ).map(([label, figure, state]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>
              {state && figure > 0 ? (
                <a href={addressOf(`listener:${name} estado:${state} 30d`)}>{amount(figure)}</a>
              ) : (
                amount(figure)
              )}
            </dd>
          </div>
        ))}
        {value.masAntigua !== null && (
          <div>
            <dt>la más antigua espera</dt>
            <dd>{duration(value.masAntigua)}</dd>
          </div>
        )}
      </dl>
      <h2>Cómo está definido</h2>
      {value.datos.length === 0 ? (
        <p class="tenue">No está en resthooks.ini.</p>
      ) : (
        <dl class="hechos">
          {value.datos.map(([label, text]) => (
            <>
              <dt>{label}</dt>
              <dd>{text}</dd>
            </>
          ))}
        </dl>
      )}
      <h2>Últimos errores</h2>
      {value.errores === null ? (
        <p class="tenue">Postgres no responde.</p>
      ) : value.errores.length === 0 ? (
        <p class="tenue">No hay ninguno.</p>
      ) : (
        <div class="tabla">
          <table>
            <tbody>
              {value.errores.map((row) => (
                <tr key={row.id} data-fila={row.id}>
                  <td class="cuando">
                    <a class="abrir" href={`mensajes/${encodeURIComponent(row.id)}`}>
                      <Time at={row.creado} />
                    </a>
                  </td>
                  <td class="evento">{row.evento}</td>
                  <td class="estado">
                    <StateWord state={row.estado} />
                  </td>
                  <td class="motivo" title={row.motivo}>
                    {row.motivo}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p>
        <a href={addressOf(`listener:${name}`)}>Todas sus entregas</a>
      </p>
    </main>
  )
}
