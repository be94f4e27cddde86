/** What every view is made of. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Row } from '../wire.ts'
import { Refused } from './api.ts'
import type { LiveState } from './live.ts'
import { fullTime, STATES, shortTime, type Tone } from './words.ts'

export function Sign({ tone, sign, children }: { tone: Tone; sign: string; children?: ComponentChildren }) {
  return (
    <span class={`signo ${tone}`}>
      <span aria-hidden="true">{sign}</span> {children}
    </span>
  )
}

export function StateWord({ state }: { state: Row['estado'] }) {
  const { sign, tone } = STATES[state]
  return (
    <Sign tone={tone} sign={sign}>
      {state}
    </Sign>
  )
}

export function Time({ at }: { at: string }) {
  return (
    <time dateTime={at} title={fullTime(at)} class="hora">
      {shortTime(at)}
    </time>
  )
}

/** Copies the whole of what is shown, and says so. */
export function Copy({ text, label = 'Copiar' }: { text: string; label?: string }) {
  const [done, setDone] = useState('')
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setDone('copiado')
    } catch {
      setDone('el navegador no lo permite: selecciónelo')
    }
    setTimeout(() => setDone(''), 2000)
  }
  return (
    <button type="button" class="chico" onClick={copy} aria-label={`${label}: ${text.slice(0, 80)}`}>
      <span aria-live="polite">{done || label}</span>
    </button>
  )
}

/** Nothing at all at first: most answers are faster than an eye. After a second it says what is being read. */
export function Waiting({ what }: { what: string }) {
  const [stage, setStage] = useState(0)
  useEffect(() => {
    const timers = [setTimeout(() => setStage(1), 300), setTimeout(() => setStage(2), 1000)]
    return () => timers.forEach(clearTimeout)
  }, [])
  if (stage === 0) return null
  return (
    <div class="esperando" role="status">
      <div class="hueso" />
      <div class="hueso" />
      <div class="hueso" />
      {stage === 2 && <p>Leyendo {what}…</p>}
    </div>
  )
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="vacio">
      <p>
        <strong>{title}</strong>
      </p>
      {children}
    </div>
  )
}

export function Problem({ error, again }: { error: Error; again?: () => void }) {
  const refused = error instanceof Refused
  const title = !refused
    ? 'La página tuvo un error.'
    : error.status === 403
      ? 'Su usuario no puede ver esto.'
      : error.status === 422
        ? 'No se entiende lo pedido.'
        : error.status === 404
          ? 'No está.'
          : 'No se pudo leer.'
  return (
    <div class="vacio problema" role="alert">
      <p>
        <strong>{title}</strong> {refused && error.body.falta ? 'Arriba dice por qué; lo demás sigue.' : error.message}
      </p>
      {again && (
        <button type="button" onClick={again}>
          Volver a intentar
        </button>
      )}
    </div>
  )
}

/** Reads something, and again when it is told to; what it had stays while it does. */
export function useRead<T>(read: (signal: AbortSignal) => Promise<T>, on: readonly unknown[], before?: T) {
  const [value, setValue] = useState<T | undefined>(before)
  const [error, setError] = useState<Error | null>(null)
  const [turn, setTurn] = useState(0)
  const skip = useRef(before !== undefined)
  useEffect(() => {
    if (skip.current) {
      skip.current = false
      return
    }
    const stop = new AbortController()
    read(stop.signal).then(
      (found) => {
        if (stop.signal.aborted) return
        setValue(found)
        setError(null)
      },
      (thrown: Error) => {
        if (!stop.signal.aborted && thrown.name !== 'AbortError') setError(thrown)
      },
    )
    return () => stop.abort()
  }, [...on, turn])
  return { value, error, again: () => setTurn((n) => n + 1), set: setValue }
}

/** When it was read, and whether it goes on by itself. */
export function LiveSwitch({ live, at }: { live: LiveState; at?: string }) {
  return (
    <p class="vivo">
      {at && (
        <>
          actualizado <Time at={at} /> ·{' '}
        </>
      )}
      <button type="button" class="chico" aria-pressed={!live.paused} onClick={live.toggle}>
        {live.paused ? 'en pausa: seguir' : 'en vivo: pausar'}
      </button>
    </p>
  )
}
