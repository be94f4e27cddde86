/**
 * The sheet of an action: what, how many, the first five, what will happen, the equivalent command; then how far it is, and what
 * came of it. Enter confirms nothing by accident: the focus begins on what leaves.
 */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Action, Asked, Preview, SessionInfo, Task } from '../wire.ts'
import { get, post } from './api.ts'
import { Problem, StateWord, Time, Waiting } from './parts.tsx'
import { forget } from './router.ts'
import { amount } from './words.ts'

const NAMES: Readonly<Record<Action, string>> = {
  reenviar: 'Reenviar',
  descartar: 'Descartar',
  pausar: 'Pausar',
  reanudar: 'Reanudar',
  probar: 'Probar',
}

let open: (asked: Asked) => void = () => {}

/** A button that opens the sheet; none where this user may not. */
export function Act({
  asked,
  session,
  label,
  small = false,
}: {
  asked: Asked
  session: SessionInfo
  label?: string
  small?: boolean
}) {
  if (!session.puede.includes(asked.action)) return null
  return (
    <button type="button" class={small ? 'chico' : ''} data-accion={asked.action} onClick={() => open(asked)}>
      {label ?? NAMES[asked.action]}…
    </button>
  )
}

export function Sheet() {
  const [asked, setAsked] = useState<Asked | null>(null)
  open = setAsked
  return asked && <OpenSheet key={JSON.stringify(asked)} asked={asked} close={() => setAsked(null)} />
}

const EVERY = 500

function OpenSheet({ asked, close }: { asked: Asked; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [preview, setPreview] = useState<Preview | null>(null)
  const [task, setTask] = useState<Task | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [busy, setBusy] = useState(false)
  const look = async () => {
    setError(null)
    setPreview(null)
    try {
      setPreview(await post<Preview>('previa', asked))
    } catch (thrown) {
      setError(thrown as Error)
    }
  }
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null
    dialog.current?.showModal()
    void look()
    return () => before?.focus()
  }, [])
  useEffect(() => {
    if (task?.estado !== 'en curso') return
    const timer = setTimeout(async () => {
      try {
        setTask(await get<Task>(`tareas/${task.id}`))
      } catch {
        // Told on top of the page; it goes on by itself.
        setTask({ ...task })
      }
    }, EVERY)
    return () => clearTimeout(timer)
  }, [task])
  const confirm = async () => {
    if (!preview) return
    setBusy(true)
    try {
      setTask(await post<Task>('hacer', { id: preview.id, accion: preview.accion }))
      // The button that was pressed goes, and would take the focus along.
      dialog.current?.querySelector<HTMLElement>('#hoja-pie button')?.focus()
      forget()
    } catch (thrown) {
      setError(thrown as Error)
    } finally {
      setBusy(false)
    }
  }
  const name = NAMES[asked.action]
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="hoja-titulo">
      <h2 id="hoja-titulo">{preview && !task ? `${name}: ${preview.dice}` : name}</h2>
      {error && <Problem error={error} again={look} />}
      {!preview && !error && <Waiting what="qué se haría" />}
      {preview && !task && !error && <Shown preview={preview} />}
      {task && <Progress task={task} />}
      <p class="acciones" id="hoja-pie">
        <button type="button" autofocus onClick={() => dialog.current?.close()}>
          {task ? 'Cerrar' : 'Cancelar'}
        </button>
        {preview && !task && !error && (
          <button
            type="button"
            class="principal"
            disabled={busy || (preview.cantidad === 0 && preview.primeras.length === 0 && isOfDeliveries(preview))}
            onClick={confirm}
          >
            {isOfDeliveries(preview)
              ? `${name} ${preview.cantidad === 1 ? '1 entrega' : `${amount(preview.cantidad)} entregas`}`
              : name}
          </button>
        )}
      </p>
    </dialog>
  )
}

function isOfDeliveries({ accion }: Preview): boolean {
  return accion === 'reenviar' || accion === 'descartar'
}

function Shown({ preview }: { preview: Preview }) {
  const rest = preview.cantidad - preview.primeras.length
  return (
    <>
      <p>{preview.pasara}</p>
      {preview.porListener.length > 1 && (
        <p class="tenue">
          {preview.porListener
            .slice(0, 8)
            .map(({ listener, cantidad }) => `${listener} ${amount(cantidad)}`)
            .join(' · ')}
        </p>
      )}
      {preview.primeras.length > 0 && (
        <ul class="primeras">
          {preview.primeras.map((row) => (
            <li key={row.id + row.listener}>
              <Time at={row.creado} /> {row.evento} → {row.listener} <StateWord state={row.estado} />
            </li>
          ))}
          {rest > 0 && <li class="tenue">y {amount(rest)} más</li>}
        </ul>
      )}
      <p class="tenue">
        Lo mismo en la terminal: <code>{preview.orden}</code>
      </p>
    </>
  )
}

function Progress({ task }: { task: Task }) {
  const running = task.estado === 'en curso'
  return (
    <div role="status">
      {running ? (
        <>
          <p>{task.accion === 'probar' ? 'Haciendo el pedido…' : `${amount(task.hechas)} de ${amount(task.total)}`}</p>
          <progress
            max={task.total || 1}
            value={task.accion === 'probar' ? undefined : task.hechas}
            aria-label="Avance"
          />
          <p class="tenue">Sigue aunque cierre esta hoja.</p>
        </>
      ) : (
        <p class={task.estado === 'falló' ? 'mal' : ''}>{task.texto}</p>
      )}
      {task.detalle.length > 0 && <pre>{task.detalle.join('\n')}</pre>}
      {!running && task.accion !== 'probar' && (
        <p>
          <a href="acciones">Ver en Acciones</a>
        </p>
      )}
    </div>
  )
}
